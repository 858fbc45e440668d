//! CPU time of this process's threads.

use std::fs;
use std::io;

/// CPU time that these threads have used, in nanoseconds, as the scheduler has counted it.
pub(crate) fn used_ns(threads: &[i32]) -> io::Result<u64> {
    let mut sum = 0;
    for id in threads {
        let line = fs::read_to_string(format!("/proc/self/task/{id}/schedstat"))?;
        let ns = line.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        sum += ns.ok_or_else(|| io::Error::other("/proc/.../schedstat cannot be read"))?;
    }
    Ok(sum)
}
