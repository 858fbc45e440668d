//! What an engine needs of the host, as far as this process can know.

use crate::datapath::EngineKind;

/// Something that is missing, and how to give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub what: String,
    /// How to give it.
    pub mend: &'static str,
}

/// What this process lacks for `engine`, or for streams that are forwarded within the kernel. Without
/// `auto`, which takes what it can have.
pub fn lacks(engine: EngineKind, offload: bool) -> Vec<Lack> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    lacks_of(engine, offload, &read("/proc/self/status"), &read("/proc/sys/kernel/osrelease"))
}

fn lacks_of(engine: EngineKind, offload: bool, status: &str, release: &str) -> Vec<Lack> {
    let for_what = match engine {
        EngineKind::Steer | EngineKind::Xdp => format!("engine = \"{engine}\""),
        EngineKind::Auto | EngineKind::Portable if offload => "offload = true".to_owned(),
        EngineKind::Auto | EngineKind::Portable => return Vec::new(),
    };
    let mut lacks = Vec::new();
    let missing = missing(status);
    if !missing.is_empty() {
        let what = format!("{for_what} needs {}, which this process has not", missing.join(", "));
        lacks.push(Lack { what, mend: GIVE });
    }
    let by_xdp = engine == EngineKind::Xdp || offload;
    let oldest = if by_xdp { OLDEST_WITH_XDP } else { OLDEST };
    if version(release).is_some_and(|version| version < oldest) {
        let (major, minor) = oldest;
        let what =
            format!("{for_what} needs Linux {major}.{minor}, and this is {}", release.trim());
        lacks.push(Lack { what, mend: "a newer kernel, or engine = \"portable\"" });
    }
    lacks
}

/// Capabilities that are not in force, by `/proc/self/status`.
fn missing(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(set) = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()) else {
        return Vec::new();
    };
    let has = |bit: u32| set & (1 << bit) != 0;
    // What CAP_BPF allows, CAP_SYS_ADMIN has always allowed.
    let lacks = |(bit, name)| (!(has(bit) || bit == BPF && has(SYS_ADMIN))).then_some(name);
    CAPABILITIES.into_iter().filter_map(lacks).collect()
}

/// `6.1.0-18-amd64` as numbers.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Bits of capabilities(7).
const SYS_ADMIN: u32 = 21;
const BPF: u32 = 39;
const CAPABILITIES: [(u32, &str); 3] =
    [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (BPF, "CAP_BPF")];
/// The first with sk_lookup programs.
const OLDEST: (u32, u32) = (5, 9);
/// The first whose XDP programs can ask for a frame's length (`bpf_xdp_get_buff_len`).
const OLDEST_WITH_XDP: (u32, u32) = (5, 18);
const GIVE: &str = "give them to the daemon: systemd/fast-media.conf as a drop-in of the unit \
                    (docs/operations/media-engine.md), or setcap, or engine = \"portable\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(engine: EngineKind, offload: bool, capabilities: &str, release: &str) -> String {
        let status = format!("Name:\ttollgate\nCapEff:\t{capabilities}\n");
        let lacks = lacks_of(engine, offload, &status, release);
        lacks.into_iter().map(|lack| lack.what + "; ").collect()
    }

    #[test]
    fn what_is_missing_for_an_engine_is_named_and_nothing_where_it_is_not_asked_for() {
        let none = "0000000000000000";
        let said = words(EngineKind::Steer, false, none, "6.1.0-18-amd64\n");
        assert_eq!(
            said,
            "engine = \"steer\" needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, which this process has not; "
        );
        let said = words(EngineKind::Xdp, false, "0000008000001000", "6.1.0");
        assert_eq!(said, "engine = \"xdp\" needs CAP_NET_RAW, which this process has not; ");
        let said = words(EngineKind::Portable, true, "0000008000002000", "6.1.0");
        assert_eq!(said, "offload = true needs CAP_NET_ADMIN, which this process has not; ");
        for engine in [EngineKind::Auto, EngineKind::Portable] {
            assert_eq!(words(engine, false, none, "4.19.0"), "");
        }
        // Before CAP_BPF came it was a part of CAP_SYS_ADMIN.
        assert_eq!(words(EngineKind::Steer, false, "0000000000203000", "5.10.0"), "");
        let said = words(EngineKind::Steer, false, "000001ffffffffff", "5.4.0-150-generic\n");
        assert_eq!(said, "engine = \"steer\" needs Linux 5.9, and this is 5.4.0-150-generic; ");
        let said = words(EngineKind::Xdp, false, "000001ffffffffff", "5.10.0\n");
        assert_eq!(said, "engine = \"xdp\" needs Linux 5.18, and this is 5.10.0; ");
        let said = words(EngineKind::Auto, true, "000001ffffffffff", "5.10.0\n");
        assert_eq!(said, "offload = true needs Linux 5.18, and this is 5.10.0; ");
    }
}
