//! Chance from a seed: SplitMix64.

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn percent(&mut self) -> usize {
        self.below(100)
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.percent() < percent
    }

    pub(crate) fn half(&mut self) -> bool {
        self.chance(50)
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// `n` of them, in any order.
    pub(crate) fn sample<'a, T>(&mut self, all: &'a [T], n: usize) -> Vec<&'a T> {
        let mut left: Vec<&T> = all.iter().collect();
        (0..n.min(all.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}
