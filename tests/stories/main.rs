//! What netd promises, one file per promise. Each story makes a private host, uses the real binaries, and leaves nothing behind.

mod lab_itself;
