//! CPU time and placement of this process's threads, found by name.

use crate::sys;
use std::fs;
use std::io;

/// The threads whose names start with `prefix`.
pub(crate) fn threads(prefix: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let name = fs::read_to_string(path.join("comm"))?;
        let id = path.file_name().and_then(|id| id.to_str()?.parse().ok());
        if let (true, Some(id)) = (name.starts_with(prefix), id) {
            found.push(id);
        }
    }
    Ok(found)
}

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

/// Keeps generator and relay out of each other's way: this thread on one CPU, the relay's on the
/// next. On a machine with one CPU there is nothing to keep apart.
pub(crate) fn keep_apart(relay: &[i32]) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus > 1 {
        sys::pin(0, 0);
        for (place, &id) in relay.iter().enumerate() {
            sys::pin(id, 1 + place % (cpus - 1));
        }
    }
}
