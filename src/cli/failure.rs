//! Why a command did not do what it was asked, as the user reads it.

use std::io;
use std::process::ExitCode;

/// A command's failure. Its text names the cause and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was called wrongly; the same call will never do.
    #[error("{0}")]
    Usage(String),
    /// It could not be done, or what was looked for is not as it should be.
    #[error("{0}")]
    Failed(String),
    /// The answer is out already: it says itself that something is wrong.
    #[error("see above")]
    Told,
    /// SQLite, or a function of ours, said no.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The store could not be read.
    #[error("{0}")]
    Store(#[from] crate::store::StoreError),
    /// The answer could not be written.
    #[error("the answer can't be written: {0}")]
    Out(#[from] io::Error),
}

impl Failure {
    /// A failure with a text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// 2 where the call was wrong, else 1. Who closes the pipe early, as `head` does, has seen enough: that is none.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Out(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// Is there anything left to be told?
    pub(super) fn is_told(&self) -> bool {
        match self {
            Self::Told => true,
            Self::Out(why) => why.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }
}
