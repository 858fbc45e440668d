//! Calls whose ways part between two configurations, and files of records in every state.

use super::*;
use b2bua::plan::{NumberIndex, NumberRange, Route, RouteFrom, Step, Tenant, Trunk, TrunkKind};

const TEAMS: usize = 0;
const COLT: usize = 1;
const BT: usize = 2;

fn route(from: RouteFrom, called: &str, to: Vec<Step>) -> Route {
    let called: b2bua::plan::Pattern = called.parse().unwrap();
    Route { from, called: called.into(), to: to.into(), ..Route::default() }
}

fn tenant(name: &str, routes: Vec<Route>) -> Tenant {
    let fqdns = vec![format!("{name}.example.net")];
    Tenant { name: name.into(), fqdns, routes, ..Tenant::default() }
}

/// Tenants with their routes, each with the numbers that begin with this and have three digits more.
fn plan(tenants: Vec<(Tenant, u64)>) -> Plan {
    let trunk = |name: &str, kind| Trunk { name: name.into(), kind, ..Trunk::default() };
    let ranges = tenants.iter().enumerate().map(|(index, (_, stem))| {
        (NumberRange { first: stem * 1000, last: stem * 1000 + 999, digits: 8 }, index)
    });
    let numbers = NumberIndex::new(ranges.collect()).unwrap();
    let tenants: Vec<Tenant> = tenants.into_iter().map(|(tenant, _)| tenant).collect();
    let fqdns = tenants.iter().enumerate().map(|(index, it)| (it.fqdns[0].clone(), index));
    let trunks = [
        trunk("teams", TrunkKind::Teams),
        trunk("colt", TrunkKind::Carrier),
        trunk("bt", TrunkKind::Carrier),
    ];
    let mut plan = Plan {
        fqdns: fqdns.collect(),
        trunks: trunks.into_iter().collect(),
        tenants: tenants.into(),
        numbers,
        ..Plan::default()
    };
    plan.node.calls_max = 10;
    plan
}

fn both_ways(to: Vec<Step>) -> Vec<Route> {
    vec![route(RouteFrom::Teams, "*", to), route(RouteFrom::Carrier, "*", vec![Step::Trunk(TEAMS)])]
}

fn line(minutes_ago: u64, tenant: &str, to: &str, trunk: &str) -> String {
    let started = clock::now().wall - Duration::from_secs(60 * minutes_ago);
    let started = humantime::format_rfc3339_millis(started);
    format!(
        "{{\"started\":\"{started}\",\"setup_ms\":null,\"talk_ms\":0,\"tenant\":{tenant},\
         \"from\":\"+49301000\",\"to\":\"{to}\",\"trunk_in\":\"{trunk}\",\"media\":null}}\n"
    )
}

/// A folder of this process that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("replay-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn replayed(&self, old: Plan, new: Plan) -> Replayed {
        let records = Records { file: self.0.join("r"), ..Records::default() };
        run(&records, old, new, clock::now().mono + TIME_MAX)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn told(replayed: &Replayed) -> Vec<String> {
    let words = |it: &Changed| format!("{}: {} -> {}", it.to, it.old.words, it.new.words);
    replayed.listed.iter().map(words).collect()
}

#[test]
fn each_way_in_which_a_call_may_part_is_told_and_counted() {
    let folder = Folder::new("parts");
    let records = [
        line(60 * 30, "\"contoso\"", "+1", "teams"),
        line(9, "\"contoso\"", "+44123", "teams"),
        line(8, "\"fabrikam\"", "+44123", "teams"),
        line(7, "\"gone\"", "+44123", "teams"),
        line(6, "\"contoso\"", "+49401005", "colt"),
        line(5, "\"contoso\"", "49301005", "bt"),
        line(4, "\"contoso\"", "+1", "level3"),
        line(3, "null", "+44123", "teams"),
        line(2, "null", "+49501000", "colt"),
        line(1, "\"contoso\"", "", "teams"),
    ];
    std::fs::write(folder.0.join("r"), records.concat()).unwrap();
    let (colt, bt) = (Step::Trunk(COLT), Step::Trunk(BT));
    let to_both = || both_ways(vec![colt.clone(), bt.clone()]);
    let old = plan(vec![
        (tenant("contoso", to_both()), 49_301),
        (tenant("fabrikam", to_both()), 49_401),
        (tenant("gone", to_both()), 49_601),
    ]);
    // Contoso gets fabrikam's numbers, fabrikam calls nobody, and somebody new is called.
    let new = plan(vec![
        (tenant("contoso", both_ways(vec![bt.clone()])), 49_401),
        (tenant("fabrikam", vec![route(RouteFrom::Carrier, "*", vec![])]), 49_701),
        (tenant("new", both_ways(vec![colt.clone()])), 49_501),
    ]);
    let replayed = folder.replayed(old.clone(), new);
    assert_eq!(
        told(&replayed),
        [
            "+49501000: refused unknown_tenant -> teams",
            "49301005: teams -> refused unknown_tenant",
            "+49401005: teams (fabrikam.example.net) -> teams (contoso.example.net)",
            "+44123: colt, bt -> refused unknown_tenant",
            "+44123: colt, bt -> refused no_route",
            "+44123: colt, bt -> bt",
        ]
    );
    let Replayed { calls, same, elsewhere, would_fail, would_succeed, .. } = replayed;
    assert_eq!((calls, same, elsewhere, would_fail, would_succeed), (7, 1, 2, 3, 1));
    let skipped: Vec<_> = replayed.skipped.iter().map(|(why, many)| (&**why, *many)).collect();
    assert_eq!(skipped, [("no_tenant", 1), ("nobody_called", 1)]);
    assert!(replayed.cut.is_none() && !replayed.is_harmless());
    let unchanged = folder.replayed(old.clone(), old);
    assert_eq!((unchanged.calls, unchanged.same, unchanged.is_harmless()), (7, 7, true));
}

#[test]
fn shares_by_weight_are_drawn_alike_and_only_the_share_that_moves_is_told() {
    let folder = Folder::new("shares");
    let records: String =
        (0..1000).map(|n| line(n, "\"contoso\"", &format!("+44{n}"), "teams")).collect();
    std::fs::write(folder.0.join("r"), records.lines().rev().collect::<Vec<_>>().join("\n"))
        .unwrap();
    let shared = |colt, bt| {
        let share = Step::Share([(COLT, colt), (BT, bt)].as_slice().into());
        plan(vec![(tenant("contoso", both_ways(vec![share])), 49_301)])
    };
    let same = folder.replayed(shared(50, 50), shared(50, 50));
    assert_eq!((same.calls, same.same), (1000, 1000));
    let moved = folder.replayed(shared(50, 50), shared(60, 40));
    assert!((40..200).contains(&moved.elsewhere), "{moved:?}");
    let all = folder.replayed(shared(100, 0), shared(0, 100));
    assert_eq!((all.elsewhere, all.listed.len()), (1000, LISTED_MAX));
    assert_eq!(all.listed[0].to, "+440", "the newest first");
}

#[test]
fn records_are_read_over_files_until_they_are_a_day_old_or_time_is_up() {
    let folder = Folder::new("files");
    let plan = plan(vec![(tenant("contoso", both_ways(vec![Step::Trunk(COLT)])), 49_301)]);
    let none = folder.replayed(plan.clone(), plan.clone());
    assert!(!none.recorded && none.is_harmless() && none.calls == 0);
    let of = |minutes| line(minutes, "\"contoso\"", "+441", "teams");
    // Whoever moved the newest away may have left the others. The first line was cut off.
    std::fs::write(folder.0.join("r.1"), format!("\",\"x\":1}}\n{}\n{}", of(30), of(20))).unwrap();
    std::fs::write(folder.0.join("r.2"), of(60 * 25) + &of(40)).unwrap();
    let seen = folder.replayed(plan.clone(), plan.clone());
    assert!(seen.recorded);
    assert_eq!((seen.calls, seen.skipped["unreadable"]), (3, 1));
    let records = Records { file: folder.0.join("r"), ..Records::default() };
    let late = run(&records, plan.clone(), plan.clone(), clock::now().mono);
    assert!(late.calls == 0 && late.cut.is_some());
    std::fs::create_dir(folder.0.join("r")).unwrap();
    let failed = folder.replayed(plan.clone(), plan);
    assert!(failed.failed.is_some() && !failed.is_harmless());
}

#[test]
fn lines_come_from_the_last_to_the_first_over_the_bounds_of_chunks() {
    let folder = Folder::new("lines");
    let lines: Vec<String> = (0..40_000).map(|n| format!("{n}{}", "x".repeat(n % 37))).collect();
    let path = folder.0.join("lines");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let mut file = Backwards::new(File::open(&path).unwrap()).unwrap();
    let told = std::iter::from_fn(|| file.next().unwrap());
    let told: Vec<String> = told.map(|line| String::from_utf8(line).unwrap()).collect();
    assert!(told.into_iter().rev().eq(lines));
    std::fs::write(&path, "x".repeat(3 << 20)).unwrap();
    let error = Backwards::new(File::open(&path).unwrap()).unwrap().next().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}
