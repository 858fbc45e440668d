//! A running configuration and its files: each file is judged by itself, and what is broken harms only
//! itself.

use super::{CONTOSO, Directory, HOST};
use crate::config::version::sum;
use crate::config::{Loaded, Scope, Store};
use b2bua::plan::Plan;

const FABRIKAM: &str = "tenants.d/fabrikam.toml";

/// A tenant with these numbers.
fn tenant(name: &str, numbers: &str) -> String {
    CONTOSO.replace("contoso", name).replace("+4930123450-+4930123459", numbers)
}

/// A daemon's view of a directory.
struct Running {
    directory: Directory,
    store: Store,
    loaded: Loaded,
}

impl Running {
    fn start(directory: Directory) -> Self {
        Self::restart(directory, &[])
    }

    /// With these tenants in force before the start.
    fn restart(directory: Directory, before: &[(&str, &str)]) -> Self {
        let mut store = Store::new(&directory.path);
        for (name, text) in before {
            store.remember(name, (*text).into(), sum(text));
        }
        let candidate = judge(&mut store, &Scope::all()).unwrap();
        let loaded = candidate.loaded.clone();
        store.commit(candidate);
        Self { directory, store, loaded }
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.directory.path.join(file), text).unwrap();
    }

    fn edit(&self, file: &str, old: &str, new: &str) {
        let text = std::fs::read_to_string(self.directory.path.join(file)).unwrap();
        assert!(text.contains(old));
        self.write(file, &text.replace(old, new));
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.directory.path.join(file)).unwrap();
    }

    /// Everything is looked at; why nothing changes, if so.
    fn reload(&mut self) -> Result<(), String> {
        self.reload_in(&Scope::all())
    }

    fn reload_in(&mut self, scope: &Scope) -> Result<(), String> {
        let candidate =
            judge(&mut self.store, scope).map_err(|problems| self.directory.told(&problems))?;
        self.loaded = candidate.loaded.clone();
        self.store.commit(candidate);
        Ok(())
    }

    fn plan(&self) -> &Plan {
        &self.loaded.plan
    }

    fn owner(&self, number: &str) -> Option<&str> {
        let plan = self.plan();
        plan.numbers.tenant(number).map(|tenant| plan.tenants[tenant].name.as_str())
    }

    /// Who is broken, with `-` where absent, and what is told.
    fn broken(&self) -> Vec<String> {
        let told = |it: &crate::config::Broken| {
            let sign = if it.absent { "-" } else { "" };
            format!("{sign}{}: {}", it.tenant, self.directory.told(&it.problems))
        };
        self.loaded.broken.iter().map(told).collect()
    }
}

fn judge(
    store: &mut Store,
    scope: &Scope,
) -> Result<crate::config::Candidate, Vec<crate::config::Problem>> {
    let look = store.look(scope, crate::clock::now().wall);
    store.judge(look, false)
}

#[test]
fn a_broken_file_leaves_its_tenant_as_it_was_and_lets_others_change() {
    let mut running = Running::start(
        Directory::sample().with(FABRIKAM, &tenant("fabrikam", "+4940100-+4940199")),
    );
    running.edit("tenants.d/contoso.toml", "[\"colt\", \"bt\"]", "[\"kolt\"]");
    running.edit(FABRIKAM, "calls = 200", "calls = 7");
    running.reload().unwrap();
    assert_eq!(
        running.broken(),
        [
            "contoso: tenants.d/contoso.toml:9: route \"+49*\" names trunk \"kolt\", which does not exist\nhint: did you mean \"colt\"?"
        ]
    );
    let plan = running.plan();
    assert_eq!(plan.tenants[0].routes[0].to, vec![1, 2].into());
    assert_eq!(plan.tenants[1].limits.calls, Some(7));

    running.write("tenants.d/contoso.toml", &CONTOSO.replace("200", "8"));
    running.reload().unwrap();
    assert_eq!(running.broken(), [""; 0]);
    assert_eq!(running.plan().tenants[0].limits.calls, Some(8));
}

#[test]
fn a_directory_in_the_place_of_a_tenants_file_takes_the_tenant_away() {
    let mut running = Running::start(
        Directory::sample().with(FABRIKAM, &tenant("fabrikam", "+4940100-+4940199")),
    );
    running.remove(FABRIKAM);
    std::fs::create_dir(running.directory.path.join(FABRIKAM)).unwrap();
    // Whether the watcher looks at this file, or somebody reloads all.
    let one = Scope { tenants: Some(["fabrikam".to_owned()].into()), ..Scope::default() };
    for scope in [one, Scope::all()] {
        running.reload_in(&scope).unwrap();
        let told = "fabrikam: tenants.d/fabrikam.toml:1: cannot be read: is a directory\nhint: tenants are files beside each other, NAME.toml";
        assert_eq!(running.broken(), [told]);
        assert_eq!(running.owner("+4940150"), Some("fabrikam"));
    }
}

#[test]
fn a_tenant_that_never_held_is_absent_and_known_by_what_can_be_read_of_it() {
    let broken = tenant("fabrikam", "+4940100-+4940199").replace("200", "\"many\"");
    let running = Running::start(Directory::sample().with(FABRIKAM, &broken));
    assert!(running.broken()[0].starts_with("-fabrikam: tenants.d/fabrikam.toml:4:"));
    let plan = running.plan();
    assert_eq!((plan.tenants.len(), plan.tenant_of_fqdn("fabrikam.sbc1.example.net")), (1, None));
    let absent = &plan.absent;
    assert!(absent.fqdn("fabrikam.sbc1.example.net").unwrap().contains("fabrikam"));
    assert!(absent.number("+4940150").unwrap().contains("fabrikam"));
    assert_eq!((absent.number("+4940200"), absent.fqdn("other.example.net")), (None, None));

    let running = Running::start(Directory::sample().with(FABRIKAM, "= nothing\n"));
    let absent = &running.plan().absent;
    assert!(absent.number("+4940200").is_some() && absent.fqdn("other.example.net").is_some());
    assert_eq!(running.owner("+4930123450"), Some("contoso"));
}

#[test]
fn what_is_claimed_twice_stays_with_the_tenant_in_force() {
    let mut running = Running::start(Directory::sample());
    // By name it would come first.
    running.write("tenants.d/adatum.toml", &tenant("adatum", "+4930123459-+4930123470"));
    running.reload().unwrap();
    assert_eq!(
        running.broken(),
        [
            "-adatum: tenants.d/adatum.toml:2: numbers +4930123459-+4930123470 of tenant \"adatum\" overlap +4930123450-+4930123459 of tenant \"contoso\" at tenants.d/contoso.toml:2\nhint: a number belongs to one tenant of the host"
        ]
    );
    assert_eq!(running.owner("+4930123459"), Some("contoso"));
    assert_eq!(running.owner("+4930123470"), None);

    // The number is given up: who claims it may have it, though nobody touched its file again.
    running.edit("tenants.d/contoso.toml", "-+4930123459", "-+4930123458");
    running.reload().unwrap();
    assert_eq!(running.broken(), [""; 0]);
    assert_eq!(running.owner("+4930123459"), Some("adatum"));

    running.write("tenants.d/bt.toml", &tenant("adatum", "+4912345"));
    running.reload().unwrap();
    assert_eq!(
        running.broken(),
        [
            "-bt: tenants.d/bt.toml:1: FQDN \"adatum.sbc1.example.net\" of tenant \"bt\" is already that of tenant \"adatum\" at tenants.d/adatum.toml:1\nhint: an FQDN tells one tenant from another"
        ]
    );
}

#[test]
fn two_tenants_may_swap_numbers_in_one_step_and_a_broken_one_gives_nothing_up() {
    let swap = |running: &Running| {
        running.write("tenants.d/contoso.toml", &tenant("contoso", "+4940100-+4940199"));
        running.write(FABRIKAM, &tenant("fabrikam", "+4930123450-+4930123459"));
    };
    let start = || {
        let directory = Directory::sample();
        Running::start(directory.with(FABRIKAM, &tenant("fabrikam", "+4940100-+4940199")))
    };
    let mut running = start();
    swap(&running);
    running.reload().unwrap();
    assert_eq!(running.broken(), [""; 0]);
    assert_eq!(running.owner("+4940100"), Some("contoso"));
    assert_eq!(running.owner("+4930123450"), Some("fabrikam"));

    let mut running = start();
    swap(&running);
    running.edit(FABRIKAM, "calls = 200", "calls = 0");
    running.reload().unwrap();
    assert_eq!(running.broken().len(), 2, "contoso cannot have what fabrikam keeps");
    assert_eq!(running.owner("+4940100"), Some("fabrikam"));
    assert_eq!(running.owner("+4930123450"), Some("contoso"));
}

#[test]
fn without_a_history_the_earlier_file_by_name_keeps_the_number() {
    let directory = Directory::sample().with(FABRIKAM, &tenant("fabrikam", "+4930123450"));
    let mut running = Running::start(directory);
    assert_eq!(running.owner("+4930123450"), Some("contoso"));
    assert!(running.broken()[0].starts_with("-fabrikam"));
    running.remove("tenants.d/contoso.toml");
    running.reload().unwrap();
    assert_eq!(running.owner("+4930123450"), Some("fabrikam"), "a deleted file frees its numbers");
    assert_eq!(running.plan().tenants.len(), 1);
}

#[test]
fn after_a_restart_a_tenant_is_as_it_last_was() {
    let before = [("contoso", CONTOSO)];
    let running =
        Running::restart(Directory::sample().with("tenants.d/contoso.toml", "x"), &before);
    assert!(running.broken()[0].starts_with("contoso: tenants.d/contoso.toml:1:"));
    assert_eq!(running.owner("+4930123450"), Some("contoso"));

    // In force before the restart is in force after it, whatever the names are.
    let adatum = tenant("adatum", "+4930123450");
    let directory = Directory::sample().with("tenants.d/adatum.toml", &adatum);
    let running = Running::restart(directory, &before);
    assert_eq!(running.owner("+4930123450"), Some("contoso"));
    assert!(running.broken()[0].starts_with("-adatum"));

    // What was deleted meanwhile is gone, and what does not hold any more is absent.
    let running = Running::restart(Directory::sample(), &[("fabrikam", &adatum)]);
    assert_eq!(running.plan().tenants.len(), 1);
    let old = CONTOSO.replace("\"bt\"", "\"gone\"");
    let directory = Directory::sample().with("tenants.d/contoso.toml", "x");
    let running = Running::restart(directory, &[("contoso", &old)]);
    assert!(running.broken()[0].starts_with("-contoso"));
}

#[test]
fn an_invalid_host_file_changes_nothing_and_every_problem_is_told() {
    let mut running = Running::start(Directory::sample());
    running.edit("tollgate.toml", "kind = \"teams\"", "kind = \"team\"");
    running.edit("tenants.d/contoso.toml", "calls = 200", "calls = 0");
    let told = running.reload().unwrap_err();
    assert!(told.starts_with("tollgate.toml:34: trunk \"teams\": `kind = \"team\"`"), "{told}");
    assert!(told.contains("\ntenants.d/contoso.toml:4: [limits]: `calls = 0`"), "{told}");
    running.write("tollgate.toml", HOST);
    running.reload().unwrap();
    assert!(running.broken()[0].starts_with("contoso"));
}

#[test]
fn a_host_file_that_was_refused_stays_so_for_as_long_as_it_is_as_it_was() {
    let mut running = Running::start(Directory::sample());
    running.write("tollgate.toml", "nonsense = 1\n");
    // By then its times are old enough to tell of the next change.
    let later = crate::clock::now().wall + std::time::Duration::from_secs(10);
    let look = running.store.look(&Scope::all(), later);
    let judged = running.store.judge(look, false);
    running.store.looked(&judged, later);
    assert!(judged.is_err() && !running.store.set_refused(true));
    let poll = Scope { host: true, poll: true, patient: true, ..Scope::default() };
    assert!(running.store.look(&poll, later).refused, "that is no look at what holds");
    running.write("tollgate.toml", HOST);
    let look = running.store.look(&poll, later + std::time::Duration::from_secs(10));
    assert!(!look.refused && running.store.judge(look, false).is_ok());
}

#[test]
fn a_host_file_under_which_a_tenant_in_force_would_not_hold_is_refused() {
    let mut running = Running::start(Directory::sample());
    let bt = &HOST[HOST.find("[[trunk]]\nname = \"bt\"").unwrap()..];
    running.edit("tollgate.toml", bt, "");
    let told = running.reload().unwrap_err();
    assert_eq!(
        told,
        "tenants.d/contoso.toml:9: route \"+49*\" names trunk \"bt\", which does not exist\nhint: known are colt, teams"
    );
    // Together with the tenant's own change it holds.
    running.edit("tenants.d/contoso.toml", ", \"bt\"", "");
    running.reload().unwrap();
    assert_eq!(running.plan().trunks.len(), 2);

    // A tenant that is broken stays as it was, which has to hold as well.
    running.write("tenants.d/contoso.toml", "x");
    running.reload().unwrap();
    running.edit("tollgate.toml", "\"colt\"", "\"dtag\"");
    assert!(running.reload().unwrap_err().contains("names trunk \"colt\""));
}

#[test]
fn trunks_that_move_take_the_routes_of_unchanged_tenants_with_them() {
    let mut running = Running::start(Directory::sample());
    let first = "[[trunk]]\nname = \"first\"\nkind = \"carrier\"\nlistener = \"carrier\"\ntargets = [\"192.0.2.99\"]\nsources = [\"192.0.2.99\"]\n[[trunk]]\nname = \"teams\"";
    running.edit("tollgate.toml", "[[trunk]]\nname = \"teams\"", first);
    running.reload().unwrap();
    assert_eq!(running.plan().tenants[0].routes[0].to, vec![2, 3].into());
}

#[test]
fn a_tenant_that_did_not_change_is_the_same_in_the_next_snapshot() {
    let directory = Directory::sample().with(FABRIKAM, &tenant("fabrikam", "+4940100-+4940199"));
    let mut running = Running::start(directory);
    let before = running.plan().clone();
    running.edit(FABRIKAM, "calls = 200", "calls = 7");
    let only = ["fabrikam".to_owned()].into_iter().collect();
    running.reload_in(&Scope { tenants: Some(only), ..Scope::default() }).unwrap();
    assert!(std::ptr::eq(&before.tenants[0], &running.plan().tenants[0]));
    assert!(!std::ptr::eq(&before.tenants[1], &running.plan().tenants[1]));
    assert_eq!(before.tenants[1].limits.calls, Some(200));
}

#[test]
fn a_file_that_is_being_written_is_not_looked_at() {
    let mut running = Running::start(Directory::sample());
    running.write("tenants.d/contoso.toml", "fqdns = [");
    let held = [running.directory.path.join("tenants.d/contoso.toml")].into_iter().collect();
    running.reload_in(&Scope { held, ..Scope::all() }).unwrap();
    assert_eq!(running.broken(), [""; 0]);
    running.reload().unwrap();
    assert_eq!(running.broken().len(), 1);
}

#[test]
fn a_directory_of_tenants_that_is_away_for_a_moment_takes_nobody_away() {
    let mut running = Running::start(Directory::sample());
    let (there, away) =
        (running.directory.path.join("tenants.d"), running.directory.path.join("old.d"));
    std::fs::rename(&there, &away).unwrap();
    assert!(running.reload().unwrap_err().contains("tenants.d:1: is not there, and 1 tenants"));
    std::fs::create_dir(&there).unwrap();
    running.reload_in(&Scope { patient: true, ..Scope::all() }).unwrap();
    assert_eq!(running.plan().tenants.len(), 1);
    running.reload().unwrap();
    assert_eq!(running.plan().tenants.len(), 0, "an empty directory means that there are none");
}

#[test]
fn a_host_file_that_is_being_written_is_not_looked_at() {
    let mut running = Running::start(Directory::sample());
    running.write("tollgate.toml", "[node]\n");
    let held = [running.directory.path.join("tollgate.toml")].into_iter().collect();
    let held = Scope { held, ..Scope::all() };
    running.reload_in(&held).unwrap();
    running.reload().unwrap_err();
    running.store.set_refused(true);
    let look = running.store.look(&held, crate::clock::now().wall);
    assert!(look.refused, "nobody knows yet whether it holds now");
}
