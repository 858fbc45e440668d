//! Local Media Optimization: Microsoft says whether a Teams user is inside the corporate network, and by
//! which SBCs media is to go; we choose the address that we name accordingly (TDR-LMO-001 to 009).

use crate::plan::{MediaPlace, Plan, Tenant};
use bytes::Bytes;
use sip_core::{Headers, Name, NameAddr, Request};

const USER_LOCATION: Name = Name::Other("X-MS-UserLocation");
const MEDIA_PATH: Name = Name::Other("X-MS-MediaPath");
const USER_SITE: Name = Name::Other("X-MS-UserSite");
/// What is carried on to an SBC behind us.
const HEADERS: [Name; 3] = [USER_LOCATION, MEDIA_PATH, USER_SITE];
/// Octets of one value; a path has two names.
const VALUE_MAX: usize = 1024;
/// SBCs of a path that are looked at.
const PATH_MAX: usize = 8;

/// What a message of Teams says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    place: Option<MediaPlace>,
    /// SBCs between the user and the public network, in lower case; the one next to the user first.
    path: Vec<String>,
    /// The same as it was written.
    lines: Vec<(Name, Bytes)>,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Media is optimised: the leg has its media there.
    At(MediaPlace),
    /// It says something that leads nowhere: the leg is reached from everywhere (TDR-LMO-009).
    Unknown,
}

impl Said {
    /// Reads it; `None` if Local Media Optimization is not spoken of.
    pub(crate) fn of(headers: &Headers) -> Option<Self> {
        let mut said = Self::default();
        for name in HEADERS {
            let value = headers.get(name).filter(|value| value.len() <= VALUE_MAX);
            said.lines.extend(value.map(|value| (name, Bytes::copy_from_slice(value))));
        }
        if said.lines.is_empty() {
            return None;
        }
        let location = headers.get(USER_LOCATION).map(<[u8]>::trim_ascii).unwrap_or_default();
        said.place = match location {
            word if word.eq_ignore_ascii_case(b"internal") => Some(MediaPlace::Inside),
            word if word.eq_ignore_ascii_case(b"external") => Some(MediaPlace::Outside),
            _ => None,
        };
        let path = headers.get(MEDIA_PATH).unwrap_or_default();
        let names = path.split(|octet| *octet == b',').map(<[u8]>::trim_ascii);
        let names = names.filter(|name| !name.is_empty()).take(PATH_MAX);
        said.path = names.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).collect();
        Some(said)
    }

    /// Where the leg of a call from Teams has its media: next to the user stands either we or an SBC
    /// behind us, whose media we carry.
    pub(crate) fn at_setup(&self, plan: &Plan, tenant: &Tenant) -> Verdict {
        let known = |name: &String| *name == plan.node.fqdn || tenant.fqdns.contains(name);
        match (self.place, self.path.first()) {
            (Some(place), Some(first)) if known(first) => Verdict::At(place),
            _ => Verdict::Unknown,
        }
    }

    /// Where the leg of a call that is up, or that went to Teams, has its media from now on, if that is
    /// said (TDR-LMO-003).
    pub(crate) fn place(&self) -> Option<MediaPlace> {
        self.place
    }

    /// Passes it on to an SBC behind us.
    pub(crate) fn write(&self, headers: &mut Headers) {
        for (name, value) in &self.lines {
            headers.push(*name, value.clone());
        }
    }
}

/// A response to an INVITE of ours without the Record-Route by which we stand in the path ourselves
/// (TDR-LMO-004): it leads from them to us, and not from us to us.
pub(crate) fn without_ours(plan: &Plan, headers: &mut Headers) {
    let ours = |route: &[u8]| {
        let address = NameAddr::parse(route).ok();
        let host = address.and_then(|address| {
            Some(String::from_utf8_lossy(address.uri().ok()?.host).to_ascii_lowercase())
        });
        // An SBC behind us keeps its own: requests go by way of it.
        host.is_some_and(|host| {
            let tenant = plan.tenant_under(&host);
            host == plan.node.fqdn
                || tenant.is_some_and(|tenant| tenant.own_fqdns().any(|own| *own == host))
        })
    };
    if !headers.list(Name::RecordRoute).any(ours) {
        return;
    }
    let all: Vec<Bytes> = headers.list(Name::RecordRoute).map(Bytes::copy_from_slice).collect();
    while headers.remove(Name::RecordRoute) {}
    for route in all.into_iter().filter(|route| !ours(route)) {
        headers.push(Name::RecordRoute, route);
    }
}

/// Whether a request names an SBC of the tenant's that is behind us, and by which trunk that is
/// reached (TDR-IN-004).
pub(crate) fn behind(tenant: &Tenant, host: &str) -> Option<usize> {
    tenant.sbcs.iter().find(|sbc| sbc.fqdn == host).map(|sbc| sbc.trunk)
}

/// The host of a Request-URI in lower case.
pub(crate) fn host_of(request: &Request) -> String {
    let host =
        request.request_uri().map(|uri| String::from_utf8_lossy(uri.host).to_ascii_lowercase());
    host.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Sbc;

    fn said(lines: &[(&'static str, &'static str)]) -> Option<Said> {
        let mut headers = Headers::default();
        for (name, value) in lines {
            headers.push(Name::Other(name), *value);
        }
        Said::of(&headers)
    }

    /// TDR-LMO-001, TDR-LMO-002, TDR-LMO-007, TDR-LMO-009, TDR-LMO-010: every mode that Microsoft
    /// documents, and what leads nowhere.
    #[test]
    fn each_mode_chooses_the_address_and_what_is_unknown_the_one_outside() {
        let mut plan = Plan::default();
        plan.node.fqdn = "proxysbc.contoso.com".into();
        let sbc = Sbc { fqdn: "vnsbc.contoso.com".into(), trunk: 1 };
        let tenant = Tenant {
            fqdns: vec!["proxysbc.contoso.com".into(), sbc.fqdn.clone()],
            sbcs: vec![sbc],
            ..Tenant::default()
        };
        let (inside, outside) = (Verdict::At(MediaPlace::Inside), Verdict::At(MediaPlace::Outside));
        for (location, path, verdict) in [
            ("internal", "VNsbc.contoso.com", inside),
            ("external", "proxysbc.contoso.com, VNsbc.contoso.com", outside),
            ("internal", "proxysbc.contoso.com,VNsbc.contoso.com", inside),
            ("INTERNAL", " ProxySBC.contoso.com , VNsbc.contoso.com", inside),
            ("internal", "other.contoso.com, VNsbc.contoso.com", Verdict::Unknown),
            ("internal", "", Verdict::Unknown),
            ("somewhere", "VNsbc.contoso.com", Verdict::Unknown),
        ] {
            let said = said(&[
                ("X-MS-USERLOCATION", location),
                ("x-ms-mediapath", path),
                ("X-MS-UserSite", "Vietnam"),
            ]);
            assert_eq!(said.unwrap().at_setup(&plan, &tenant), verdict, "{location} {path}");
        }
        let site = said(&[("X-MS-UserSite", "Vietnam")]).unwrap();
        assert_eq!(site.at_setup(&plan, &tenant), Verdict::Unknown);
        assert_eq!(said(&[("X-MS-TenantID", "a")]), None);
    }
}
