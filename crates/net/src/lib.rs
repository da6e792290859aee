//! The network. It moves frames; it does not know what is in them.
#![forbid(unsafe_code)]
