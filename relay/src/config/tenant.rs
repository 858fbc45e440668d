//! `tenants.d/NAME.toml`: what a tenant's file may say.

use super::problem::{At, Place, Problems};
use super::reader::{Reader, read_file};
use super::source::Source;
use super::{teams, trunk, value};
use b2bua::numbering::Country;
use b2bua::plan::{HoldPolicy, Limits, NumberRange, Patterns, RouteFrom, TransferPolicy};
use std::path::Path;

/// FQDNs of one tenant.
const FQDNS_MAX: usize = 64;
/// Number ranges of one tenant.
const NUMBERS_MAX: usize = 10_000;
/// Emergency numbers of one tenant.
const EMERGENCY_MAX: usize = 64;
/// Trunks of one route: each is tried in turn while a caller waits.
const TRUNKS_MAX: usize = 8;

/// One tenant, as read.
#[derive(Debug)]
pub(crate) struct TenantDraft {
    pub(crate) name: String,
    pub(crate) fqdns: Vec<At<String>>,
    pub(crate) numbers: Vec<At<NumberRange>>,
    pub(crate) limits: Limits,
    pub(crate) routes: Vec<RouteDraft>,
    pub(crate) country: Option<&'static Country>,
    pub(crate) hold: HoldPolicy,
    pub(crate) transfer: TransferPolicy,
    pub(crate) emergency: Vec<At<String>>,
    pub(crate) damaged: bool,
}

/// One `[[route]]`, as read.
#[derive(Debug)]
pub(crate) struct RouteDraft {
    pub(crate) from: Option<RouteFrom>,
    pub(crate) called: Option<Patterns>,
    pub(crate) to: Vec<At<String>>,
    pub(crate) emergency: bool,
    pub(crate) place: Place,
    pub(crate) whose: String,
}

const FROM: &[(&str, RouteFrom)] = &[("teams", RouteFrom::Teams), ("carrier", RouteFrom::Carrier)];
/// Who does a transfer, in a tenant and in a carrier trunk.
pub(super) const TRANSFER: &[(&str, TransferPolicy)] =
    &[("refer", TransferPolicy::Refer), ("none", TransferPolicy::None)];

const HOLD: &[(&str, HoldPolicy)] =
    &[("inactive", HoldPolicy::Inactive), ("absorb", HoldPolicy::Absorb)];

/// Reads the tenant in `path`.
pub(crate) fn read(path: &Path, source: &Source, problems: &Problems) -> TenantDraft {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if !value::is_name(&stem) {
        let place = Place { file: source.file, line: 1 };
        let said = format!(
            "the file's name makes the tenant {}, which is not a name",
            value::quote(&stem)
        );
        let hint = "letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first";
        problems.error(place, said, Some(hint.to_owned()));
    }
    let (mut tenant, damaged) = read_file(source, problems, |top| tenant(stem, top));
    tenant.damaged = damaged;
    tenant
}

fn tenant(name: String, top: &mut Reader<'_>) -> TenantDraft {
    let fqdns = top.list("fqdns", 1..=FQDNS_MAX, teams::sbc_fqdn);
    if fqdns.is_none() {
        top.missing("fqdns", Some("the names Teams knows this tenant's SBC by: fqdns = [\"contoso.sbc1.example.net\"]".to_owned()));
    }
    let numbers = top.list("numbers", 0..=NUMBERS_MAX, value::number_range).unwrap_or_default();
    let emergency = top.list("emergency", 0..=EMERGENCY_MAX, value::dialled).unwrap_or_default();
    let limits = top.section("limits", trunk::limits).unwrap_or_default();
    let country = top.optional("country", value::country).map(|at| at.value);
    let hold = top.optional_or("hold", value::one_of(HOLD), HoldPolicy::default());
    let transfer = top.optional_or("transfer", value::one_of(TRANSFER), TransferPolicy::default());
    let routes = top.each("route", "route", "match", route);
    for emergency_only in routes.iter().filter(|route| route.emergency) {
        if emergency.is_empty() && !top.has("emergency") {
            let said = format!(
                "{}: is for emergency numbers, and the tenant has none",
                emergency_only.whose
            );
            top.error(
                emergency_only.place,
                &said,
                Some("emergency = [\"112\"], above the first table".to_owned()),
            );
        }
    }
    let reached = |number: &str| {
        let outbound = routes.iter().filter(|route| route.from == Some(RouteFrom::Teams));
        let mut patterns = outbound.filter_map(|route| route.called.as_ref());
        patterns.any(|pattern| pattern.matches(number))
    };
    let unsure = routes.iter().any(|route| route.from.is_none() || route.called.is_none());
    for number in emergency.iter().filter(|number| !unsure && !reached(&number.value)) {
        let said =
            format!("emergency number \"{}\" is matched by no route from Teams", number.value);
        let hint = "[[route]] from = \"teams\" emergency = true match = \"*\" to = [...]";
        top.error(number.place, &said, Some(hint.to_owned()));
    }
    TenantDraft {
        name,
        fqdns: fqdns.unwrap_or_default(),
        numbers,
        limits,
        routes,
        country,
        hold,
        transfer,
        emergency,
        damaged: false,
    }
}

fn route(table: &mut Reader<'_>) -> RouteDraft {
    let from = table.required("from", value::one_of(FROM));
    let emergency = table.optional("emergency", value::flag);
    if let (Some(from), Some(emergency)) = (&from, &emergency)
        && emergency.value
        && from.value == RouteFrom::Carrier
    {
        let said = "emergency numbers are dialled in Teams, not by carriers";
        table.error(emergency.place, said, Some("from = \"teams\"".to_owned()));
    }
    let emergency = emergency.is_some_and(|at| at.value);
    let called = match emergency {
        // Which numbers it serves is already said by `emergency` of the tenant.
        true if !table.has("match") => Some(Patterns::default()),
        _ => table.patterns("match").map(|at| at.value),
    };
    if !emergency && !table.has("match") {
        table.missing("match", None);
    }
    let to = table.list("to", 1..=TRUNKS_MAX, value::name);
    if to.is_none() {
        table.missing("to", Some("the trunks to try, in order: to = [\"colt\"]".to_owned()));
    }
    RouteDraft {
        from: from.map(|at| at.value),
        called,
        to: to.unwrap_or_default(),
        emergency,
        place: table.place(),
        whose: table.whose().to_owned(),
    }
}
