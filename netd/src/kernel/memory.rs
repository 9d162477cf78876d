//! Keeps the allocator frugal: a daemon that idles for days should not hold what one busy second needed. Never changes what is computed.

/// One pool for all threads: glibc makes one for each thread that meets another, and the many short ones that look into namespaces would each leave one
/// behind (mallopt(3), M_ARENA_MAX). To be called before the first thread is started.
pub fn frugal() {
    // SAFETY: it sets a number of the allocator's, and no other thread runs yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives back to the kernel what is free (malloc_trim(3)).
pub(crate) fn give_back() {
    // SAFETY: it takes a number and touches only what the allocator has free.
    unsafe { libc::malloc_trim(0) };
}
