//! What a reload cannot change: sockets and threads that exist since the start.

use super::{Loaded, Problem};
use b2bua::plan::MediaAddress;
use std::fmt::Display;

/// Why `new` cannot take the place of `old` without a restart, each thing by name; empty if it can.
pub fn refusals(old: &Loaded, new: &Loaded) -> Vec<Problem> {
    let mut refusals = Refusals { new, list: Vec::new() };
    let lines = &new.lines;
    refusals.changed(
        lines.admin,
        "[admin]: `socket`",
        &old.admin_socket.display(),
        &new.admin_socket.display(),
    );
    refusals.changed(lines.metrics, "[metrics]: `listen`", &old.metrics, &new.metrics);
    let workers = (old.plan.media_workers, new.plan.media_workers);
    refusals.changed(lines.media, "[media]: `workers`", &workers.0, &workers.1);
    if old.media_engine != new.media_engine {
        refusals.refuse(lines.media, "[media]: `engine` cannot change".to_owned());
    }
    refusals.changed(
        lines.state,
        "[state]: `directory`",
        &old.state.display(),
        &new.state.display(),
    );
    if old.log != new.log {
        refusals.refuse(lines.log, "[log] cannot change".to_owned());
    }
    refusals.media(old);
    refusals.list
}

struct Refusals<'a> {
    new: &'a Loaded,
    list: Vec<Problem>,
}

impl Refusals<'_> {
    fn refuse(&mut self, line: u32, message: String) {
        self.list.push(Problem {
            file: self.new.lines.file.clone(),
            line,
            message: format!("{message} without a restart"),
            hint: None,
        });
    }

    fn changed(&mut self, line: u32, what: &str, old: &dyn Display, new: &dyn Display) {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            self.refuse(line, format!("{what} cannot change from {old} to {new}"));
        }
    }

    /// Ports are counted per address from the first to the last: neither may move.
    fn media(&mut self, old: &Loaded) {
        let new = self.new;
        for (index, address) in new.plan.media.iter().enumerate() {
            let line = new.lines.addresses.get(index).copied().unwrap_or(1);
            let what = format!("media address \"{}\"", address.name);
            match old.plan.media.get(index) {
                Some(before) if before.name == address.name => {
                    let bound = |one: &MediaAddress| {
                        format!("{} ports {}-{}", one.bind, one.ports.start(), one.ports.end())
                    };
                    self.changed(line, &what, &bound(before), &bound(address));
                }
                _ if old.plan.media.iter().any(|before| before.name == address.name) => {
                    self.refuse(line, format!("{what} cannot move to another place in the list"));
                }
                _ => self.refuse(line, format!("{what} cannot be added")),
            }
        }
        for before in &old.plan.media {
            if !new.plan.media.iter().any(|address| address.name == before.name) {
                let message = format!("media address \"{}\" cannot be removed", before.name);
                self.refuse(new.lines.media, message);
            }
        }
    }
}
