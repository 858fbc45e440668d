//! Who may have which engine: without privileges, with those that the unit gives, and what is said where one
//! cannot be had.

use super::super::process::until;
use super::super::setting::{Privileges, Setting};
use super::super::{Lab, lab};
use super::Played;
use super::calls::sealed;
use crate::fail::{Fail, Outcome, While, ensure};
use std::process::Command;

pub(super) const ALL: &[Played] = &[
    (
        "without_privileges_auto_goes_by_sockets_and_says_why",
        Setting { privileges: Privileges::No, ..Setting::of("auto", true) },
        without_privileges,
    ),
    (
        "the_units_capabilities_are_enough_for_xdp",
        Setting { privileges: Privileges::OfTheUnit, ..Setting::of("xdp", true) },
        |lab| {
            sealed(lab, &["xdp"])?;
            restart_is_needed(lab)
        },
    ),
];

fn without_privileges(lab: &mut Lab) -> Outcome {
    let status = lab.tollgate.shows(&["status"])?;
    println!("{status}");
    let says = status.contains("portable") && status.contains("CAP_BPF");
    ensure(says, || format!("not said why:\n{status}"))?;
    sealed(lab, &["portable"])?;
    an_engine_by_name_ends_the_start(lab)
}

/// Who asks for an engine by name is told which line of which file that is, what is missing, and what to do.
fn an_engine_by_name_ends_the_start(lab: &Lab) -> Outcome {
    let folder = lab.scratch("no_such_engine")?;
    let path = folder.join("tollgate.toml");
    let at = folder.display();
    for engine in ["steer", "xdp"] {
        let text = format!(
            "[node]\nfqdn = \"{}\"\n\n[admin]\nsocket = \"{at}/admin.sock\"\n\n[metrics]\n\
             listen = \"127.0.0.1:9465\"\n\n[state]\ndirectory = \"{at}/state\"\n\n[records]\n\
             file = \"{at}/records\"\n\n[media]\nengine = \"{engine}\"\n\n[[media.address]]\n\
             name = \"one\"\nbind = \"{}\"\nports = \"21000-21099\"\n\n[[listener]]\nname = \"sip\"\n\
             transport = \"udp\"\nbind = \"127.0.0.1:5960\"\n\n[[trunk]]\nname = \"one\"\n\
             kind = \"carrier\"\nlistener = \"sip\"\ntargets = [\"127.0.0.1:5961\"]\n\
             sources = [\"127.0.0.1/32\"]\nsrtp = \"off\"\noptions_interval = \"off\"\n",
            lab::BASE_FQDN,
            lab::BORDER
        );
        std::fs::write(&path, &text).while_(path.display())?;
        let line = text.lines().take_while(|line| !line.starts_with("engine")).count() + 1;
        let setting = Setting { privileges: Privileges::No, ..Setting::of(engine, false) };
        let mut command: Command = setting.command(lab.tollgate.binary(), &folder)?;
        let output = command.args(["run", "--config"]).arg(&folder).output().while_("tollgate")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("      {}", said.lines().last().unwrap_or_default());
        let place = format!("{}:{line}: `engine = \"{engine}\"`", path.display());
        ensure(output.status.code() == Some(CONFIG), || format!("{}: {said}", output.status))?;
        let told = [place.as_str(), "CAP_BPF", "fast-media.conf"];
        ensure(told.iter().all(|it| said.contains(it)), || format!("not said {told:?}: {said}"))?;
    }
    Ok(())
}

/// Of sysexits(3): the configuration cannot be put in force.
const CONFIG: i32 = 78;

/// A reload leaves the engine as it is, and says so.
fn restart_is_needed(lab: &Lab) -> Outcome {
    let path = lab.tollgate.folder().join("tollgate.toml");
    let was = std::fs::read_to_string(&path).while_(path.display())?;
    let other = was.replace("engine = \"xdp\"", "engine = \"portable\"");
    std::fs::write(&path, other).while_(path.display())?;
    let said = match lab.tollgate.ask(&["reload"]) {
        Ok(said) => return Err(Fail(format!("another engine is in force: {said}"))),
        Err(Fail(said)) => said,
    };
    println!("      {}", said.lines().next().unwrap_or_default());
    let told = said.contains("`engine` cannot change from xdp to portable without a restart");
    ensure(told, || said)?;
    std::fs::write(&path, was).while_(path.display())?;
    until("configuration in force again", super::super::call::TALK, || {
        lab.tollgate.ask(&["reload"]).is_ok()
    })
}
