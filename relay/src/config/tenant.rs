//! `tenants.d/NAME.toml`: what a tenant's file may say.

use super::guard::{self, FraudDraft, LimitsDraft};
use super::help;
use super::hook::{self, HookDraft};
use super::numbers::{self, TenantNumbers};
use super::problem::{At, Place, Problems};
use super::reader::{Reader, read_file};
use super::route::{self, RouteDraft};
use super::sbc::{self, SbcDraft};
use super::source::Source;
use super::{teams, value};
use b2bua::numbering::Country;
use b2bua::plan::{Help, HoldPolicy, Model, NumberRange, TransferPolicy};
use jiff::tz::TimeZone;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

/// FQDNs of one tenant.
const FQDNS_MAX: usize = 64;
/// Number ranges of one tenant.
const NUMBERS_MAX: usize = 10_000;
/// Emergency numbers of one tenant.
const EMERGENCY_MAX: usize = 64;

/// One tenant, as read.
#[derive(Debug)]
pub(crate) struct TenantDraft {
    pub(crate) name: String,
    pub(crate) model: Model,
    pub(crate) fqdns: Vec<At<String>>,
    pub(crate) sbcs: Vec<SbcDraft>,
    pub(crate) tenant_id: Option<String>,
    pub(crate) numbers: Vec<At<NumberRange>>,
    pub(crate) limits: LimitsDraft,
    pub(crate) fraud: Vec<FraudDraft>,
    pub(crate) suspended: bool,
    pub(crate) routes: Vec<RouteDraft>,
    pub(crate) country: Option<&'static Country>,
    pub(crate) rules: TenantNumbers,
    pub(crate) hold: HoldPolicy,
    pub(crate) transfer: TransferPolicy,
    /// `None`: those of its country.
    pub(crate) emergency: Option<Vec<At<String>>>,
    pub(crate) progress_after: Option<Duration>,
    pub(crate) help: Help,
    pub(crate) timezone: Option<TimeZone>,
    pub(crate) hook: Option<HookDraft>,
    pub(crate) damaged: bool,
}

/// Microsoft gives up after 10 s, or as long as an admin has said.
const PROGRESS_AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

impl TenantDraft {
    /// The names that Teams has for the tenant: its own, then those of SBCs behind us.
    pub(crate) fn names(&self) -> impl Iterator<Item = &At<String>> {
        self.fqdns.iter().chain(self.sbcs.iter().filter_map(|sbc| sbc.fqdn.as_ref()))
    }
}

/// Who does a transfer, in a tenant and in a carrier trunk.
pub(super) const TRANSFER: &[(&str, TransferPolicy)] =
    &[("refer", TransferPolicy::Refer), ("none", TransferPolicy::None)];

const MODEL: &[(&str, Model)] = &[("carrier", Model::Carrier), ("classic", Model::Classic)];

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
    let model = top.optional_or("model", value::one_of(MODEL), Model::default());
    let tenant_id = top.optional("tenant_id", value::guid).map(|at| at.value);
    let owned = top.list("numbers", 0..=NUMBERS_MAX, value::number_range).unwrap_or_default();
    let emergency = top.list("emergency", 0..=EMERGENCY_MAX, value::dialled);
    let help = help::read(top, &owned);
    let limits = top.section("limits", guard::limits(guard::FROM)).unwrap_or_default();
    let fraud = top.each("fraud", "fraud", "class", guard::fraud);
    let suspended = top.optional_or("suspended", value::flag, false);
    let country = top.optional("country", value::country).map(|at| at.value);
    let progress = top.optional("progress_after", value::off_or_duration(PROGRESS_AFTER));
    let timezone = top.optional("timezone", value::timezone).map(|at| at.value);
    let hold = top.optional_or("hold", value::one_of(HOLD), HoldPolicy::default());
    let transfer = top.optional_or("transfer", value::one_of(TRANSFER), TransferPolicy::default());
    let rules = numbers::tenant(top);
    let sbcs = top.each("sbc", "sbc", "fqdn", sbc::read);
    if sbcs.len() > sbc::SBCS_MAX {
        let said = format!("{} tables [[sbc]]; {} are the most", sbcs.len(), sbc::SBCS_MAX);
        top.error(top.place(), &said, None);
    }
    let routes = top.each("route", "route", "match", route::read);
    for route in &routes {
        route.caller_fits(&rules.caller.value, top);
    }
    let caller = &rules.caller.value;
    if caller.policy.is_some()
        && let Err(said) = numbers::caller_fits(caller, None)
    {
        top.error(rules.caller.place, said, None);
    }
    TenantDraft {
        name,
        model,
        fqdns: fqdns.unwrap_or_default(),
        sbcs,
        tenant_id,
        numbers: owned,
        limits,
        fraud,
        suspended,
        routes,
        country,
        rules,
        hold,
        transfer,
        emergency,
        progress_after: progress.and_then(|at| at.value),
        help,
        timezone,
        hook: top.section("hook", hook::read),
        damaged: false,
    }
}
