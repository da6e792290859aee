//! One line of the printed table.

/// A figure beside what it must be and what we aim for; `bin/bench` reads the columns by their tabs.
pub(crate) struct Line {
    figure: String,
    must: f64,
    aim: f64,
    measured: f64,
    note: String,
}

impl Line {
    /// A ratio to plain SQLite that must not be above `must`.
    pub(crate) fn new(figure: impl Into<String>, must: f64, aim: f64, measured: f64, note: impl Into<String>) -> Self {
        Self { figure: figure.into(), must, aim, measured, note: note.into() }
    }

    /// The same from two times for `rows` rows, told in microseconds a row.
    pub(crate) fn times(figure: &str, must: f64, aim: f64, (plain, ours): (u64, u64), rows: i64) -> Self {
        let each = |ns: u64| ns as f64 / rows as f64 / 1000.0;
        let note = format!("{:.2} us a row against {:.2}", each(ours), each(plain));
        Self::new(figure, must, aim, ours as f64 / plain as f64, note)
    }

    pub(crate) fn print(&self) {
        let verdict = match self.measured {
            m if m <= self.aim => "aim",
            m if m <= self.must => "must",
            _ => "MISSED",
        };
        let Self { figure, must, aim, measured, note } = self;
        println!("{figure}\t{must:.1}x\t{aim:.1}x\t{measured:.2}x\t{verdict}\t{note}");
    }
}
