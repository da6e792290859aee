//! How far long work is: a bar in a terminal, a line now and then elsewhere, nothing for programs.

use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

use super::Out;

/// Between two lines where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Work under way.
pub(super) struct Progress<'a> {
    out: &'a Out,
    what: &'static str,
    bar: Option<ProgressBar>,
    told: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(out: &'a Out, what: &'static str) -> Self {
        let bar = out.is_animated().then(|| {
            let bar = ProgressBar::new(0);
            // Without a template that fits indicatif draws its own.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { out, what, bar, told: Instant::now() }
    }

    /// `done` of `all`, as far as is known now; `detail` in words.
    pub(super) fn show(&mut self, done: u64, all: u64, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(all.max(done));
            bar.set_position(done);
            bar.set_message(format!("{}: {}", self.what, super::out::printable(detail)));
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            self.out.remark(&format!("{}: {done} of {} entries; {detail}", self.what, all.max(done)));
        }
    }

    /// It is over; the bar makes room for the answer.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
