//! Reloads of the real binary: files change under it, and it says what became of that.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a test that fails")]

mod running;

use running::{Running, tenant};

#[test]
fn a_tenant_file_takes_effect_when_it_is_renamed_into_place_and_a_broken_one_harms_itself_alone() {
    let running = Running::start("rename");
    running.rename_into("contoso", &tenant("contoso", "+4930123450-+4930123459", 7));
    running.wait_for("limit of contoso", || {
        running.told(&["rollback", "--list"]).contains("200 -> 7")
    });
    running.rename_into("fabrikam", &tenant("fabrikam", "+4930123455", 1));
    running.wait_for("alarm", || running.told(&["alarms"]).contains("tenant fabrikam"));
    let alarms = running.told(&["alarms"]);
    assert!(alarms.contains("tenant_invalid") && alarms.contains("absent"), "{alarms}");
    assert!(running.metrics().contains("tollgate_config_in_sync 0"));
    let of = "tollgate_alarm_active{alarm=\"tenant_invalid\",tenant=\"fabrikam\"}";
    assert!(running.metrics().contains(&format!("{of} 1")));
    assert_eq!(running.exit(&["check", "--config", running.path()]), 1);
    assert_eq!(running.exit(&["reload"]), 1);
    running.rename_into("fabrikam", &tenant("fabrikam", "+49401", 1));
    running.wait_for("no alarm", || running.told(&["alarms"]) == "no alarms\n");
    assert!(running.metrics().contains("tollgate_config_in_sync 1"));
    assert!(running.metrics().contains(&format!("{of} 0")));
    assert_eq!(running.exit(&["reload"]), 0);
}

#[test]
fn what_a_reload_would_change_is_told_before_it_changes() {
    let running = Running::start("diff");
    assert_eq!(running.told(&["diff"]), "no differences\n");
    // An open file is not taken; its writer has not finished.
    let mut file = std::fs::File::create(running.file("tenants.d/contoso.toml")).unwrap();
    std::io::Write::write_all(&mut file, tenant("contoso", "+49302", 9).as_bytes()).unwrap();
    running.settle();
    assert_eq!(running.told(&["diff"]), "no differences\n");
    let (code, _, err) = running.ask(&["reload"]);
    assert!(code == 1 && err.contains("contoso.toml:1: is being written"), "{err}");
    drop(file);
    running.wait_for("closed", || running.told(&["rollback", "--list"]).contains("200 -> 9"));

    let host = std::fs::read_to_string(running.file("tollgate.toml")).unwrap();
    running.write("tollgate.toml", &format!("nonsense = 1\n{host}"));
    let (code, out, err) = running.ask(&["reload", "--check"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("tollgate.toml:1: unknown key `nonsense`"), "{err}");
    running.wait_for("alarm", || running.told(&["alarms"]).contains("config_refused"));
    assert!(running.metrics().contains("tollgate_config_in_sync 0"));
    // What no reload can change is told before as well.
    running.write("tollgate.toml", &format!("{host}\n[log]\nlevel = \"debug\"\n"));
    let (code, _, err) = running.ask(&["reload", "--check"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("[log] cannot change without a restart"), "{err}");
    assert_eq!(running.exit(&["reload"]), 1);
    // As it was: nothing changes but that it is what is on disk.
    running.write("tollgate.toml", &host);
    running.wait_for("no alarm", || running.told(&["alarms"]) == "no alarms\n");
    assert!(running.metrics().contains("tollgate_config_in_sync 1"));
}

#[test]
fn a_rollback_stays_until_the_files_change_and_over_a_restart() {
    let mut running = Running::start("rollback");
    running.rename_into("contoso", &tenant("contoso", "+4930123450-+4930123459", 7));
    running.wait_for("7", || running.told(&["rollback", "--list"]).contains("200 -> 7"));
    assert_eq!(running.exit(&["rollback"]), 0);
    let rolled_back = |running: &Running| {
        let alarms = running.told(&["alarms"]);
        assert!(alarms.contains("config_rolled_back"), "{alarms}");
        assert!(running.metrics().contains("tollgate_config_in_sync 0"));
        let diff = running.told(&["diff"]);
        assert!(diff.contains("tenant contoso: limits.calls: 200 -> 7"), "{diff}");
    };
    rolled_back(&running);
    // The same content again is no change.
    running.rename_into("contoso", &tenant("contoso", "+4930123450-+4930123459", 7));
    running.settle();
    rolled_back(&running);
    running.restart();
    rolled_back(&running);
    assert_eq!(running.exit(&["rollback"]), 1, "there is none before");
    running.rename_into("contoso", &tenant("contoso", "+4930123450-+4930123459", 8));
    running.wait_for("8", || running.told(&["alarms"]) == "no alarms\n");
    assert_eq!(running.told(&["diff"]), "no differences\n");
    assert_eq!(running.exit(&["rollback", "77"]), 1);

    // After a restart a tenant whose file is broken is as it last was.
    running.rename_into("contoso", "nonsense");
    running.wait_for("alarm", || running.told(&["alarms"]).contains("as it last was"));
    running.restart();
    assert!(running.told(&["alarms"]).contains("as it last was"));
}

/// A call's record, so many minutes old.
fn record(minutes_ago: u64, of: (&str, &str), from: &str, to: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "records are of the last day")]
    let now = std::time::SystemTime::now();
    let started = now - std::time::Duration::from_secs(60 * minutes_ago);
    let started = humantime::format_rfc3339_millis(started);
    let (tenant, trunk) = of;
    format!(
        "{{\"call\":1,\"started\":\"{started}\",\"setup_ms\":900,\"talk_ms\":5000,\"tenant\":\"{tenant}\",\
         \"from\":\"{from}\",\"to\":\"{to}\",\"trunk_in\":\"{trunk}\"}}\n"
    )
}

#[test]
fn calls_of_the_last_day_that_would_go_elsewhere_after_a_reload_are_told() {
    let running = Running::start("replay");
    let replay = || running.ask(&["diff", "--replay"]);
    std::fs::remove_file(running.file("records.jsonl")).unwrap();
    let (code, out, err) = replay();
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.starts_with("no records: ") && out.contains("records.jsonl"), "{out}");
    let records = [
        record(26 * 60, ("contoso", "teams"), "+4930123450", "+331"),
        record(30, ("contoso", "teams"), "+4930123450", "+441"),
        record(20, ("contoso", "teams"), "+4930123451", "+492"),
        "{\"call\": 2, \"st\n".to_owned(),
        record(10, ("contoso", "colt"), "+4989", "+4930123455"),
    ];
    running.write("records.jsonl", &records.concat());
    let same = "3 calls of the last day: 3 same, 0 elsewhere, 0 would fail, 0 would now succeed\n\
                records skipped, unreadable: 1\n";
    assert_eq!(replay(), (0, same.to_owned(), String::new()));

    // Teams may call Germany alone, and one number is given up. What is rolled back from is on disk.
    let text = tenant("contoso", "+4930123450-+4930123454", 200);
    running.rename_into("contoso", &text.replacen("match = \"*\"", "match = \"+49*\"", 1));
    running.wait_for("+49*", || running.told(&["rollback", "--list"]).contains("+49*"));
    assert_eq!(running.exit(&["rollback"]), 0);
    let (code, out, err) = replay();
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let shown: Vec<&str> = out.lines().collect();
    assert!(shown[1].contains(" teams -> refused unknown_tenant"), "{out}");
    assert!(shown[2].contains("contoso  +4930123450  +441"), "{out}");
    assert!(shown[2].ends_with("teams  fail   colt -> refused no_route"), "{out}");
    let totals = "3 calls of the last day: 1 same, 0 elsewhere, 2 would fail, 0 would now succeed";
    assert_eq!(shown[3], totals, "{out}");
    let (code, out, _) = running.ask(&["diff", "--replay", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["ok"], &told["would_fail"]), (1, &false.into(), &2.into()), "{out}");
    assert_eq!(told["listed"][1]["new"]["refused"], "no_route", "{out}");
    assert_eq!(running.exit(&["diff"]), 0, "it only differs");
    // Nothing of it has changed anything.
    assert!(running.told(&["alarms"]).contains("config_rolled_back"));

    // Where nothing would change, nothing is replayed.
    let host = std::fs::read_to_string(running.file("tollgate.toml")).unwrap();
    running.write("tollgate.toml", &format!("nonsense = 1\n{host}"));
    let (code, out, err) = replay();
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("tollgate.toml:1: unknown key `nonsense`"), "{err}");
}

#[test]
fn a_copy_of_the_configuration_is_compared_before_it_takes_the_place_of_the_one_in_force() {
    let running = Running::start("staged");
    let staged = running.file("staged");
    std::fs::create_dir_all(staged.join("tenants.d")).unwrap();
    for entry in std::fs::read_dir(running.path()).unwrap().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::copy(entry.path(), staged.join(entry.file_name())).unwrap();
        }
    }
    let with = |verb: &[&str]| {
        let path = staged.to_str().unwrap();
        running.ask(&[verb, &["--with", path]].concat())
    };
    let route = record(20, ("contoso", "teams"), "+4930123451", "+331");
    running.write("records.jsonl", &route);
    let write = |text: &str| std::fs::write(staged.join("tenants.d/contoso.toml"), text).unwrap();
    let text = tenant("contoso", "+4930123450-+4930123459", 9);
    write(&text.replacen("match = \"*\"", "match = \"+49*\"", 1));
    let (code, out, err) = with(&["diff"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("tenant contoso: limits.calls: 200 -> 9"), "{out}");
    let (code, out, err) = with(&["diff", "--replay"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.contains("colt -> refused no_route"), "{out}");
    write(&text.replace("colt", "kolt"));
    let (code, _, err) = with(&["diff"]);
    assert_eq!(code, 1);
    assert!(err.contains("staged/tenants.d/contoso.toml:") && err.contains("kolt"), "{err}");
    // Nothing of it has changed anything, and the daemon still follows its own.
    assert_eq!(running.told(&["diff"]), "no differences\n");
    running.rename_into("contoso", &tenant("contoso", "+4930123450-+4930123459", 7));
    running.wait_for("7", || running.told(&["rollback", "--list"]).contains("200 -> 7"));
    assert_eq!(running.ask(&["diff", "--with", "/nowhere"]).0, 1);
}

/// What is issued is to come in force at once, not when everything is looked at anyway.
#[test]
fn a_certificate_that_a_reload_has_asked_for_is_followed_before_it_is_there() {
    let running = Running::start_with("acme", |host| format!("{host}[log]\nlevel = \"debug\"\n"));
    let host = std::fs::read_to_string(running.file("tollgate.toml")).unwrap();
    let acme = "[[certificate]]\nname = \"public\"\n[certificate.acme]\nnames = [\"a.example.net\"]\n\
                server = \"https://127.0.0.1:9/directory\"\nroots = \"root.pem\"\n\
                challenge = \"http-01\"\nbind = \"127.0.0.1:9\"\n";
    running.write("tollgate.toml", &format!("{host}{acme}"));
    let (code, _, err) = running.ask(&["reload"]);
    assert_eq!(code, 0, "{err}");
    let log = std::fs::read_to_string(running.file("log")).unwrap();
    let missed = log.lines().find(|line| line.contains("is not watched"));
    assert_eq!(missed, None);
    assert!(running.file("state/acme").is_dir());
}

/// Every other change does not hold. What is in force at the end is what held last, and whoever did not
/// change never noticed.
#[test]
fn a_storm_of_changes_half_of_them_invalid_leaves_what_held_last() {
    let running = Running::start("storm");
    running.rename_into("fabrikam", &tenant("fabrikam", "+4940100-+4940199", 5));
    running.wait_for("fabrikam", || running.told(&["rollback", "--list"]).contains("fabrikam"));
    for number in 1..=STORM {
        let mut text = tenant("contoso", "+4930123450-+4930123459", number);
        if number % 2 == 1 {
            // Whose calls would these be? Nobody's but fabrikam's.
            text = text.replacen("+4930123450-+4930123459", "+4940150", 1);
        }
        let file = running.file("tenants.d/contoso.toml");
        match number % 3 {
            0 => running.rename_into("contoso", &text),
            1 => {
                let target = running.file(&format!("elsewhere-{number}"));
                std::fs::write(&target, text).unwrap();
                let link = running.file("tenants.d/.link");
                std::os::unix::fs::symlink(target, &link).unwrap();
                std::fs::rename(link, file).unwrap();
            }
            _ => {
                let _ = std::fs::remove_file(&file);
                let mut open = std::fs::File::create(&file).unwrap();
                let (half, rest) = text.split_at(text.len() / 2);
                std::io::Write::write_all(&mut open, half.as_bytes()).unwrap();
                running.breathe();
                std::io::Write::write_all(&mut open, rest.as_bytes()).unwrap();
            }
        }
        running.breathe();
    }
    assert_eq!(STORM % 2, 0, "the last one holds");
    running.wait_for("calm", || running.told(&["alarms"]) == "no alarms\n");
    assert_eq!(running.told(&["diff"]), "no differences\n");
    let metrics = running.metrics();
    assert!(metrics.contains("tollgate_config_in_sync 1"), "{metrics}");
    assert!(metrics.contains("tollgate_config_reloads_total{result=\"refused\"} 0"), "{metrics}");
    let partial = "tollgate_config_reloads_total{result=\"partial\"} ";
    assert!(metrics.lines().any(|line| line.starts_with(partial) && !line.ends_with(" 0")));
    assert!(!metrics.contains("tenant=\"fabrikam\""), "fabrikam was never broken");
    let list = running.told(&["rollback", "--list"]);
    assert!(list.contains(&format!("-> {STORM}")), "{list}");
}

/// Changes, some ten a second.
const STORM: u32 = 50;
