//! Files of the configuration come, change, break and go, many times a second, while calls cross.

use super::peers::Sipp;
use super::process::until;
use super::sipp::Over;
use super::sipp::{Role, xml};
use super::surprises::{POLITE_CALLEE, POLITE_CALLER};
use super::tollgate::Metrics;
use super::{Lab, lab};
use crate::fail::{Outcome, While, ensure};
use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Calls that cross, and how many begin in a second: half a minute of them.
const CALLS: usize = 300;
const CALLS_PER_SECOND: usize = 10;
/// Between two changes: some three hundred a minute.
const PAUSE: Duration = Duration::from_millis(200);
/// From a file's rename until it is in force, on a machine that is busy with calls.
const IN_FORCE: Duration = Duration::from_secs(15);

const GONE_CALLER: &str = "
    > INVITE sdp
    < 100?
    < 404
    > ACK";

/// Not one call fails, and none is another tenant's.
pub(super) fn tenants_come_and_go_while_calls_cross(lab: &mut Lab) -> Outcome {
    let folder = lab.scratch("reloads")?;
    let storm = Storm { tenants: lab.tollgate.folder().join("tenants.d") };
    storm.rename("crossing", &tenant("crossing", lab::CROSSING))?;
    until("tenant in force", IN_FORCE, || routed(lab))?;

    let applied = reloads("applied")?;
    let callee = xml("crossing", Role::Callee, Over::Udp, POLITE_CALLEE);
    let callee = Sipp::load(&folder, "callee", &callee, lab::CALLEE, None, CALLS)?;
    let caller = xml("crossing", Role::Caller, Over::Udp, POLITE_CALLER);
    let dials = Some((lab::CROSSING, CALLS_PER_SECOND));
    let mut caller = Sipp::load(&folder, "caller", &caller, lab::CALLER, dials, CALLS)?;
    let mut changes = 0;
    while !caller.is_over() {
        storm.change(lab, changes)?;
        changes += 1;
        std::thread::sleep(PAUSE);
    }
    storm.calm(lab)?;
    caller.completes()?;
    callee.completes()?;
    lab.tollgate.is_empty_again()?;

    lab.calls += CALLS;
    lab.tollgate.record(lab.calls)?;
    let records = lab.tollgate.records()?;
    let crossed = records.get(records.len() - CALLS..).unwrap_or_default();
    let wrong = crossed.iter().find(|it| it["tenant"] != "crossing" || it["status"] != 200);
    ensure(wrong.is_none(), || format!("of {CALLS} calls, one went wrong: {wrong:?}"))?;
    let applied = reloads("applied")? - applied;
    ensure(applied >= changes / 4, || {
        format!("only {applied} of {changes} changes were ever in force")
    })?;

    fs::remove_file(storm.file("crossing")).while_("crossing.toml")?;
    until("tenant gone", IN_FORCE, || !routed(lab))?;
    let caller = xml("gone", Role::Caller, Over::Udp, GONE_CALLER);
    let number = Some(lab::CROSSING);
    Sipp::plays(&folder, "late", &caller, lab::CALLER, Over::Udp, number)?.completes()?;
    lab.calls += 1;
    let record = lab.tollgate.record(lab.calls)?;
    ensure(record["cause"] == "unknown_tenant", || format!("not unknown: {record}"))
}

/// Whether the running configuration routes the tenant's number.
fn routed(lab: &Lab) -> bool {
    let words = ["route", "--tenant", "crossing", "--via", "caller", "--from", "+4989123456"];
    let words: Vec<&str> = words.into_iter().chain(["--to", lab::CROSSING]).collect();
    lab.tollgate.ask(&words).is_ok()
}

fn reloads(result: &str) -> Outcome<usize> {
    let label = format!("result=\"{result}\"");
    let count = Metrics::scrape()?.sum("tollgate_config_reloads_total", &[&label]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let count = count as usize;
    Ok(count)
}

/// A tenant whose calls go from carrier to carrier.
fn tenant(name: &str, number: &str) -> String {
    let base = lab::BASE_FQDN;
    format!(
        "fqdns = [\"{name}.{base}\"]\nnumbers = [\"{number}\"]\n\n\
         [[route]]\nfrom = \"carrier\"\nmatch = \"*\"\nto = [\"callee\"]\n"
    )
}

struct Storm {
    tenants: PathBuf,
}

impl Storm {
    fn file(&self, name: &str) -> PathBuf {
        self.tenants.join(format!("{name}.toml"))
    }

    /// As a tool that knows how does it: whole, then in one step.
    fn rename(&self, name: &str, text: &str) -> Outcome {
        let beside = self.tenants.join(format!(".{name}.new"));
        fs::write(&beside, text).while_(beside.display())?;
        fs::rename(&beside, self.file(name)).while_(name)
    }

    /// The `number`th change: each kind comes round every eight.
    fn change(&self, lab: &Lab, number: usize) -> Outcome {
        let guest = tenant("guest", lab::GUEST);
        match number % 8 {
            0 => self.rename("guest", &guest),
            1 => self.rename("guest", &guest.replace("callee", "nobody")),
            2 => self.in_pieces("guest", &guest),
            3 => self.swapped(&guest, number),
            4 => self.rename("thief", &tenant("thief", lab::CROSSING)),
            5 => {
                let host = lab.tollgate.folder().join("tollgate.toml");
                let text = fs::read_to_string(&host).while_(host.display())?;
                fs::write(&host, text.replace("[node]", "[nod]")).while_(host.display())?;
                std::thread::sleep(PAUSE);
                fs::write(&host, text).while_(host.display())
            }
            6 => lab.tollgate.ask(&["reload"]).map_or(Ok(()), |_| Ok(())),
            _ => self.calm(lab),
        }
    }

    /// As an editor on a slow disk does it: what is there meanwhile is a file without its end.
    fn in_pieces(&self, name: &str, text: &str) -> Outcome {
        let mut file = fs::File::create(self.file(name)).while_(name)?;
        let (half, rest) = text.split_at(text.len() / 2);
        file.write_all(half.as_bytes()).while_(name)?;
        std::thread::sleep(PAUSE);
        file.write_all(rest.as_bytes()).while_(name)
    }

    /// As a deployment does it: the file is a link, and leads elsewhere from one moment to the next.
    fn swapped(&self, text: &str, number: usize) -> Outcome {
        let release = self.tenants.join(format!("../release-{number}"));
        fs::write(&release, text).while_(release.display())?;
        let link = self.tenants.join(".link.new");
        remove(&link)?;
        symlink(&release, &link).while_("link")?;
        fs::rename(&link, self.file("linked")).while_("link")?;
        // Both name the same number: one of them is the one that was there first.
        remove(&self.file("guest"))
    }

    /// Everything but the tenant whose calls cross goes.
    fn calm(&self, _: &Lab) -> Outcome {
        for name in ["guest", "thief", "linked"] {
            remove(&self.file(name))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Outcome {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).while_(path.display())
        }
        _ => Ok(()),
    }
}

/// After all of it: no alarm is left, and what runs is what is on disk.
pub(super) fn no_alarm_is_left_after_the_storm(lab: &mut Lab) -> Outcome {
    let calm = || {
        let alarms = lab.tollgate.ask(&["alarms", "--json"]).unwrap_or_default();
        let alarms: Value = serde_json::from_str(&alarms).unwrap_or_default();
        alarms["alarms"].as_array().is_some_and(Vec::is_empty)
    };
    until("end of all alarms", IN_FORCE, calm)?;
    let in_sync = Metrics::scrape()?.sum("tollgate_config_in_sync", &[]);
    ensure(in_sync > 0.5, || "the configuration in force is not the one on disk".to_owned())
}
