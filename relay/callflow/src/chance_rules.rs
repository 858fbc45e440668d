//! Rules for numbers, callers, headers and codecs by chance: whatever they say, the laws hold and Teams
//! has nothing to complain about.

use crate::dice::Dice;
use crate::plan::{BT, COLT, TEAMS};
use b2bua::Plan;
use b2bua::numbering::{Country, NumberFormat};
use b2bua::plan::{
    CallerId, CallerPolicy, CallerPrivacy, Change, EarlyMedia, HeaderAction, HeaderRule,
    HoldDialect, Pattern, Rewrite, Ringback, Template, Way,
};
use sdp::Codecs;

/// What the calls of the scripted sides have in common is never left out.
const LISTS: &[&[&str]] =
    &[&["PCMA", "PCMU"], &["PCMU", "PCMA", "G722"], &["PCMA", "-telephone-event"], &["G729"]];

/// Changes a plan by rules. Every second flow has none.
pub(crate) fn vary(dice: &mut Dice, plan: &mut Plan) {
    if dice.once_in(2) {
        return;
    }
    for index in [TEAMS, COLT, BT] {
        let Some(trunk) = plan.trunks.get_mut(index) else { continue };
        trunk.codecs = codecs(dice);
        trunk.ringback = dice.of(&[
            None,
            Some(Ringback::Pass),
            Some(Ringback::All),
            Some(Ringback::First),
            Some(Ringback::Local),
        ]);
        trunk.header_rules = headers(dice);
        if index == TEAMS {
            continue;
        }
        trunk.early_media = dice.of(&[EarlyMedia::Open, EarlyMedia::Open, EarlyMedia::Authorized]);
        trunk.hold = dice.of(&[
            HoldDialect::Pass,
            HoldDialect::SendOnly,
            HoldDialect::Inactive,
            HoldDialect::Zero,
            HoldDialect::Absorb,
        ]);
        trunk.country = Country::of(dice.of(&["DE", "US", "DK", "IT"]));
        trunk.format = dice.of(&[
            None,
            Some(NumberFormat::E164),
            Some(NumberFormat::Plain),
            Some(NumberFormat::International),
            Some(NumberFormat::National),
        ]);
        trunk.rewrite = rewrites(dice);
    }
    for tenant in plan.tenants.iter_mut() {
        tenant.codecs = codecs(dice);
        tenant.ringback = dice.of(&[Ringback::Pass, Ringback::All, Ringback::Local]);
        tenant.header_rules = headers(dice);
        let policies = [
            None,
            Some(CallerPolicy::Own),
            Some(CallerPolicy::Substitute),
            Some(CallerPolicy::Anonymous),
        ];
        let number = dice.once_in(2).then(|| "+493010000000".into());
        tenant.caller = CallerId { policy: dice.of(&policies), number };
        tenant.privacy = dice.of(&[CallerPrivacy::Pass, CallerPrivacy::Anonymous]);
    }
}

fn codecs(dice: &mut Dice) -> Codecs {
    match dice.once_in(3) {
        true => Codecs::only(dice.of(LISTS).iter().copied()),
        false => Codecs::default(),
    }
}

fn rewrites(dice: &mut Dice) -> Vec<Rewrite> {
    let rule = |matches: &str, strip, prepend: &str| Rewrite {
        way: Way::Out,
        party: None,
        from: None,
        matches: matches.parse::<Pattern>().unwrap_or_default().into(),
        change: Change::Front { strip, prepend: prepend.into() },
        place: "tollgate.toml:1".into(),
    };
    match dice.below(3) {
        0 => vec![rule("+4989*", 3, "0"), rule("*", 0, "99")],
        1 => vec![rule("+49*", 1, "00")],
        _ => Vec::new(),
    }
}

fn headers(dice: &mut Dice) -> Vec<HeaderRule> {
    let template = || Template::parse("{tenant} {trunk} {called} {calling} {call}").ok();
    let add = template().map(|value| ("X-Rule", HeaderAction::Add(value)));
    let others = [
        ("X-Rule", HeaderAction::Remove),
        ("Subject", HeaderAction::Copy("Subject".into())),
        ("User-to-User", HeaderAction::Remove),
    ];
    let all = add.into_iter().chain(others).filter(|_| dice.once_in(2));
    all.filter_map(|(name, action)| HeaderRule::new(name, action, None, "a:1".into()).ok())
        .collect()
}
