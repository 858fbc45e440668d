//! Whether the kernel encrypts, or lets nothing out, by policies for addresses (IPsec; xfrm(7), RFC 4301).

use super::LOOKS;
use super::netlink::{DUMP_ALL, Message, Request, Socket, word_at};
use std::io;

/// How many policies there are in the calling thread's network namespace for what leaves it. Packets with
/// headers of our own meet none of them.
pub(crate) fn output_policies() -> io::Result<usize> {
    match Socket::of(libc::NETLINK_XFRM, &[]) {
        // A kernel without IPsec.
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Ok(0),
        socket => count(&mut socket?),
    }
}

fn count(questions: &mut Socket) -> io::Result<usize> {
    let mut count = 0;
    let mut request = Request::new(GET_POLICY, DUMP_ALL, &[0; POLICY_ID]);
    questions.ask(&mut request, |message| count += usize::from(keeps_back(&message)))?;
    Ok(count)
}

/// Hears of policies that come, as those of a tunnel do that comes up.
#[derive(Debug)]
pub(crate) struct Policies {
    changes: Socket,
    questions: Socket,
    /// They are to be counted: since it listens it has not, or one of them has changed.
    changed: bool,
}

impl Policies {
    /// Of the calling thread's network namespace; `None` where the kernel has no IPsec.
    pub(crate) fn new() -> io::Result<Option<Self>> {
        let changes = match Socket::of(libc::NETLINK_XFRM, &[POLICIES]) {
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(None),
            socket => socket?,
        };
        let questions = Socket::of(libc::NETLINK_XFRM, &[])?;
        Ok(Some(Self { changes, questions, changed: true }))
    }

    /// As [`output_policies`], counted where something has changed since; `None` where nothing has.
    pub(crate) fn follow(&mut self) -> io::Result<Option<usize>> {
        for _ in 0..LOOKS {
            match self.changes.told() {
                Ok(None) => break,
                // What it could not keep for us is a change as well.
                Ok(Some(_)) | Err(_) => self.changed = true,
            }
        }
        if !self.changed {
            return Ok(None);
        }
        let count = count(&mut self.questions)?;
        self.changed = false;
        Ok(Some(count))
    }
}

/// Whether a policy has something done to what leaves, or has it stay. One of an interface of its own
/// (XFRM) is met there alone, and we write no headers for that.
fn keeps_back(message: &Message<'_>) -> bool {
    let octet = |at: usize| message.body.get(at).copied();
    let of = |wanted| message.attributes(POLICY).find(|(kind, _)| *kind == wanted);
    let interface = of(IF_ID).and_then(|(_, value)| word_at(value, 0));
    message.kind == NEW_POLICY
        && octet(DIRECTION) == Some(OUT)
        && (octet(ACTION) != Some(ALLOW) || of(TEMPLATES).is_some())
        && interface.unwrap_or(0) == 0
}

// XFRMNLGRP_POLICY
const POLICIES: u32 = 4;
// XFRM_MSG_NEWPOLICY, XFRM_MSG_GETPOLICY
const NEW_POLICY: u16 = 0x13;
const GET_POLICY: u16 = 0x15;
/// Octets of a `xfrm_userpolicy_id`, and of a `xfrm_userpolicy_info`.
const POLICY_ID: usize = 64;
const POLICY: usize = 168;
/// Where the latter has its direction (XFRM_POLICY_OUT) and what to do (XFRM_POLICY_ALLOW).
const DIRECTION: usize = 160;
const ACTION: usize = 161;
const OUT: u8 = 1;
const ALLOW: u8 = 0;
// XFRMA_TMPL, XFRMA_IF_ID
const TEMPLATES: u16 = 5;
const IF_ID: u16 = 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{Namespace, skipped};

    #[test]
    fn a_policy_for_what_leaves_is_not_seen() {
        let Some(namespace) = Namespace::new() else { return };
        let count = || namespace.run(output_policies).unwrap();
        if !namespace.run(|| std::path::Path::new("/proc/net/xfrm_stat").exists()) {
            return skipped("IPsec in the kernel");
        }
        let mut policies = namespace.run(Policies::new).unwrap().unwrap();
        assert_eq!(policies.follow().unwrap(), Some(0));
        assert_eq!(count(), 0);
        let encrypts = "tmpl src 10.1.0.1 dst 10.1.0.2 proto esp mode tunnel";
        for (policy, seen) in [
            (format!("dir in src 10.1.0.2 dst 10.1.0.1 {encrypts}"), false),
            // What goes around a tunnel.
            ("dir out src 10.1.0.1 dst 10.1.0.7".to_owned(), false),
            (format!("dir out src 10.1.0.1 dst 10.1.0.3 if_id 7 {encrypts}"), false),
            (format!("dir out src 10.1.0.1 dst 10.1.0.2 {encrypts}"), true),
            ("dir out src 10.1.0.1 dst 10.1.0.4 action block".to_owned(), true),
        ] {
            let before = count();
            namespace.ip(&format!("xfrm policy add {policy}"));
            assert_eq!(count() - before, usize::from(seen), "{policy}");
            assert_eq!(policies.follow().unwrap(), Some(count()), "{policy}");
            assert_eq!(policies.follow().unwrap(), None, "{policy}");
        }
        namespace.ip("xfrm policy flush");
        assert_eq!(policies.follow().unwrap(), Some(0));
    }
}
