//! `[trunk.registrar]`: who may register with us on a trunk, for how long, and whether its calls are
//! challenged. Each secret is in a file of its own.

use super::credentials::{realm, secret, secret_file, user};
use super::problem::{At, Place, Problems};
use super::reader::Reader;
use super::value;
use b2bua::accounts::{Registrar, Times, User};
use sip_core::auth::Algorithm;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// Users of one trunk: all that they bind are tried in turn while a caller waits.
const USERS_MAX: usize = 16;
/// What is granted at most. After a restart of ours a PBX is found again at its next refresh, and a
/// NAT forgets a flow that is silent for longer.
const EXPIRES: Duration = Duration::from_secs(300);
/// Below a minute a PBX would do little else; a connection on which nothing comes for ten minutes is
/// closed, and the way to the PBX with it.
const EXPIRES_RANGE: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(600);

/// `[trunk.registrar]`, before its files are looked at.
#[derive(Debug)]
pub(crate) struct RegistrarDraft {
    users: Vec<UserDraft>,
    realm: Option<At<String>>,
    algorithms: Vec<Algorithm>,
    times: Times,
    challenge_calls: bool,
    pub(crate) place: Place,
    whose: String,
}

#[derive(Debug)]
struct UserDraft {
    name: Option<At<String>>,
    secret_file: Option<At<String>>,
    whose: String,
}

impl RegistrarDraft {
    /// The files of its users' secrets.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        self.users.iter().filter_map(|user| Some(user.secret_file.as_ref()?.value.as_str()))
    }
}

/// Reads `[trunk.registrar]`.
pub(crate) fn read(table: &mut Reader<'_>) -> RegistrarDraft {
    let whose = table.whose().to_owned();
    let what = format!("{whose}: user");
    let users = table.each("user", &what, "name", |table| UserDraft {
        name: table.required("name", user),
        secret_file: secret_file(table),
        whose: table.whose().to_owned(),
    });
    if users.is_empty() {
        let hint = "[[trunk.registrar.user]] name = \"pbx\" secret_file = \"pbx.secret\"";
        let place = table.place();
        table.error(place, "nobody may register: there is no `user`", Some(hint.to_owned()));
    }
    let most = table.optional_or("expires", value::duration(EXPIRES_RANGE), EXPIRES);
    let least = *EXPIRES_RANGE.start();
    let least = table.optional_or("expires_min", value::duration(least..=most), least);
    RegistrarDraft {
        users,
        realm: table.optional("realm", realm),
        algorithms: algorithms(table),
        times: Times { least, most },
        challenge_calls: table.optional_or("challenge_calls", value::flag, true),
        place: table.place(),
        whose,
    }
}

/// What we challenge with. MD5 alone where nothing else is said: a telephone that knows no other gives
/// up on a challenge that offers it one, whatever stands beside it.
fn algorithms(table: &mut Reader<'_>) -> Vec<Algorithm> {
    let listed = table
        .list("algorithms", 1..=ALGORITHMS.len(), value::one_of(ALGORITHMS))
        .unwrap_or_default();
    if listed.is_empty() {
        return vec![Algorithm::Md5];
    }
    listed.into_iter().map(|at| at.value).collect()
}

/// Each is challenged with in a header of its own.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("MD5", Algorithm::Md5),
    ("SHA-256", Algorithm::Sha256),
    ("SHA-512-256", Algorithm::Sha512Trunc256),
];

/// The registrar of a trunk; `None` if it cannot be used, which is told. Without a realm of its own
/// it asks for `realm`.
pub(crate) fn load(
    directory: &Path,
    draft: &RegistrarDraft,
    realm: Option<&str>,
    problems: &Problems,
) -> Option<Registrar> {
    if draft.users.len() > USERS_MAX {
        let message =
            format!("{} has {} users; {USERS_MAX} are the most", draft.whose, draft.users.len());
        problems.error(draft.place, message, None);
        return None;
    }
    let mut users: Vec<User> = Vec::with_capacity(draft.users.len());
    let mut whole = true;
    for one in &draft.users {
        match load_user(directory, one, &users, problems) {
            Some(user) => users.push(user),
            None => whole = false,
        }
    }
    let own = draft.realm.as_ref().map(|realm| realm.value.as_str());
    let realm = own.or(realm)?.to_owned();
    let RegistrarDraft { times, challenge_calls, .. } = *draft;
    let algorithms = draft.algorithms.clone();
    (whole && !users.is_empty()).then_some(Registrar {
        realm,
        users,
        algorithms,
        times,
        challenge_calls,
    })
}

fn load_user(
    directory: &Path,
    draft: &UserDraft,
    before: &[User],
    problems: &Problems,
) -> Option<User> {
    let secret = secret(directory, draft.secret_file.as_ref()?, &draft.whose, problems);
    let name = draft.name.as_ref()?;
    if before.iter().any(|other| other.name == name.value) {
        problems.error(name.place, format!("{} stands twice", draft.whose), None);
        return None;
    }
    Some(User { name: name.value.clone(), secret: secret? })
}
