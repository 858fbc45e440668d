//! Configurations that do not hold, with the exact words an operator reads.

use super::{CONTOSO, Directory, HOST};
use certs::lab::{Authority, Key, Purpose, Request};

const TENANT: &str = "tenants.d/contoso.toml";
const MAIN: &str = "tollgate.toml";

/// One edit of the sample and all that is then told.
type Mistake = (&'static str, &'static str, &'static str, &'static str);

fn each_is_told(table: &[Mistake]) {
    for (file, old, new, expected) in table {
        let told = Directory::sample().edit(file, old, new).problems();
        assert_eq!(told, *expected, "{old:?} -> {new:?}");
    }
}

#[test]
fn keys_and_words_that_are_not_known() {
    each_is_told(&[
        (
            MAIN,
            "options_interval = \"60s\"",
            "optons_interval = \"60s\"",
            "tollgate.toml:45: trunk \"colt\": unknown key `optons_interval`\nhint: did you mean `options_interval`?",
        ),
        (
            MAIN,
            "[resolve]",
            "[resolv]",
            "tollgate.toml:15: unknown table `resolv`\nhint: did you mean `resolve`?",
        ),
        (
            TENANT,
            "calls = 200",
            "colour = 1\ncalls = 200",
            "tenants.d/contoso.toml:4: [limits]: unknown key `colour`\nhint: known here: burst, calls, calls_per_second, from_carrier, from_teams, when_full",
        ),
        (
            MAIN,
            "srtp = \"off\"",
            "srtp = \"prefered\"",
            "tollgate.toml:44: trunk \"colt\": `srtp = \"prefered\"` is not one of required, preferred, off\nhint: did you mean \"preferred\"?",
        ),
        (
            TENANT,
            "[limits]",
            "hold = \"sendonly\"\n[limits]",
            "tenants.d/contoso.toml:3: `hold = \"sendonly\"` is not one of inactive, absorb",
        ),
        (
            TENANT,
            "[limits]",
            "transfer = \"reffer\"\n[limits]",
            "tenants.d/contoso.toml:3: `transfer = \"reffer\"` is not one of refer, none\nhint: did you mean \"refer\"?",
        ),
    ]);
}

#[test]
fn values_of_the_wrong_kind() {
    each_is_told(&[
        (
            MAIN,
            "workers = 1",
            "workers = \"1\"",
            "tollgate.toml:8: [media]: `workers = \"1\"` is text where a number is expected\nhint: write 1 without quotes",
        ),
        (
            MAIN,
            "workers = 1",
            "workers = 0",
            "tollgate.toml:8: [media]: `workers = 0` is not between 1 and 128",
        ),
        (
            MAIN,
            "\"60s\"",
            "60",
            "tollgate.toml:45: trunk \"colt\": `options_interval = 60` has no unit\nhint: did you mean \"60s\"?",
        ),
        (
            MAIN,
            "\"60s\"",
            "\"60 sec\"",
            "tollgate.toml:45: trunk \"colt\": `options_interval = \"60 sec\"` is not a duration such as \"500ms\", \"10s\", \"5m\" or \"1h\"",
        ),
        (
            MAIN,
            "\"60s\"",
            "\"2h\"",
            "tollgate.toml:45: trunk \"colt\": `options_interval = \"2h\"` is not between 1s and 3600s",
        ),
        (
            MAIN,
            "[\"192.0.2.0/28\"]",
            "\"192.0.2.0/28\"",
            "tollgate.toml:43: trunk \"colt\": `sources = \"192.0.2.0/28\"` is text where a list is expected\nhint: sources = [\"192.0.2.0/28\"]",
        ),
        (
            MAIN,
            "[node]",
            "[[node]]",
            "tollgate.toml:1: `[[node]]` stands where there is only one `[node]`\nhint: write [node]",
        ),
        (
            MAIN,
            "[[certificate]]",
            "[certificate]",
            "tollgate.toml:17: `certificate` is a table where a list of tables is expected\nhint: write [[certificate]]: there may be several\n\
             tollgate.toml:26: listener \"teams\" names certificate \"wild\", which does not exist\nhint: there is no certificate at all",
        ),
        (
            TENANT,
            "\"+49*\"",
            "49",
            "tenants.d/contoso.toml:8: route 1: `match = 49` is a number where text is expected\nhint: put it in quotes: \"49\"",
        ),
    ]);
}

#[test]
fn addresses_ports_and_names_that_cannot_be() {
    each_is_told(&[
        (
            MAIN,
            "\"0.0.0.0:5060\"",
            "\"0.0.0.0\"",
            "tollgate.toml:30: listener \"carrier\": `bind = \"0.0.0.0\"` has no port\nhint: add it, such as \"0.0.0.0:5061\"",
        ),
        (
            MAIN,
            "\"0.0.0.0:5060\"",
            "\"0.0.0.0:70000\"",
            "tollgate.toml:30: listener \"carrier\": `bind = \"0.0.0.0:70000\"` is not an IP address with a port, such as \"192.0.2.1:5061\" or \"[2001:db8::1]:5061\"",
        ),
        (
            MAIN,
            "\"203.0.113.10:5060\"",
            "\"0.0.0.0:5060\"",
            "tollgate.toml:31: listener \"carrier\": `advertise = \"0.0.0.0:5060\"` is no address that a peer can send to",
        ),
        (
            MAIN,
            "advertise = \"203.0.113.10:5060\"\n",
            "",
            "tollgate.toml:27: listener \"carrier\": `advertise` is missing\nhint: with bind on all addresses, say which one peers send to, such as \"203.0.113.10:5060\"",
        ),
        (
            MAIN,
            "\"203.0.113.10:5060\"",
            "\"[2001:db8::1]:5060\"",
            "tollgate.toml:31: listener \"carrier\": `bind` and `advertise` are not of one address family",
        ),
        (
            MAIN,
            "\"192.0.2.0/28\"",
            "\"192.0.2.0/28\", \"192.0.2.7/28\", \"192.0.2.0/33\", \"colt\"",
            "tollgate.toml:43: trunk \"colt\": \"192.0.2.0/33\" in `sources` has no prefix length between 0 and 32\n\
             tollgate.toml:43: trunk \"colt\": \"192.0.2.7/28\" in `sources` has bits beyond its prefix length\nhint: the block is \"192.0.2.0/28\", the one address \"192.0.2.7\"\n\
             tollgate.toml:43: trunk \"colt\": \"colt\" in `sources` is not an address block such as \"192.0.2.0/28\"",
        ),
        (
            MAIN,
            "\"192.0.2.7:5060\"",
            "\"192.0.2.777:5060\"",
            "tollgate.toml:42: trunk \"colt\": \"192.0.2.777:5060\" in `targets` is not HOST:PORT, such as \"192.0.2.7:5060\" or \"sip.example.net:5061\"",
        ),
        (
            MAIN,
            "20000-29999",
            "29999-20000",
            "tollgate.toml:14: media address \"outside\": `ports = \"29999-20000\"` ends before it begins\nhint: did you mean \"20000-29999\"?",
        ),
        (
            MAIN,
            "20000-29999",
            "20001-20004",
            "tollgate.toml:14: media address \"outside\": `ports = \"20001-20004\"` holds no call: one takes 4 ports, two pairs of RTP and RTCP",
        ),
        (
            MAIN,
            "20000-29999",
            "20000",
            "tollgate.toml:14: media address \"outside\": `ports = \"20000\"` is not a port range such as \"20000-29999\"",
        ),
        (
            MAIN,
            "127.0.1.1",
            "localhost",
            "tollgate.toml:16: [resolve]: \"localhost\" in `sip.pstnhub.microsoft.com` is not an IP address",
        ),
        (
            MAIN,
            "\"sbc1.example.net\"",
            "\"*.example.net\"",
            "tollgate.toml:2: [node]: `fqdn = \"*.example.net\"` is a wildcard where one name is expected",
        ),
    ]);
}

#[test]
fn names_that_lead_nowhere() {
    each_is_told(&[
        (
            TENANT,
            "\"colt\"",
            "\"kolt\"",
            "tenants.d/contoso.toml:9: route \"+49*\" names trunk \"kolt\", which does not exist\nhint: did you mean \"colt\"?",
        ),
        (
            TENANT,
            "\"colt\"",
            "\"vodafone\"",
            "tenants.d/contoso.toml:9: route \"+49*\" names trunk \"vodafone\", which does not exist\nhint: known are bt, colt, teams",
        ),
        (
            MAIN,
            "media = \"outside\"",
            "media = \"outsid\"",
            "tollgate.toml:46: trunk \"colt\" names media address \"outsid\", which does not exist\nhint: did you mean \"outside\"?",
        ),
        (
            MAIN,
            "certificate = \"wild\"",
            "certificate = \"wilde\"",
            "tollgate.toml:26: listener \"teams\" names certificate \"wilde\", which does not exist\nhint: did you mean \"wild\"?",
        ),
        (
            TENANT,
            "\"colt\", \"bt\"",
            "\"colt\", \"colt\"",
            "tenants.d/contoso.toml:9: route \"+49*\" names trunk \"colt\" twice",
        ),
        (
            MAIN,
            "name = \"bt\"",
            "name = \"colt\"",
            "tollgate.toml:48: trunk \"colt\" is defined a second time, first at tollgate.toml:39\n\
             tenants.d/contoso.toml:9: route \"+49*\" names trunk \"bt\", which does not exist\nhint: known are colt, teams",
        ),
        (
            MAIN,
            "name = \"bt\"",
            "name = \"B T\"",
            "tollgate.toml:48: trunk \"B T\": `name = \"B T\"` is not a name: letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first",
        ),
    ]);
}

/// TDR-DNS-002 TDR-DNS-003 TDR-DNS-008 TDR-TLS-001 TDR-CRT-002 TDR-CRT-003 TDR-CRT-004
#[test]
fn what_teams_does_not_take() {
    each_is_told(&[
        // TDR-TLS-001
        (
            MAIN,
            "listener = \"teams\"\nroots",
            "listener = \"carrier\"\nroots",
            "tollgate.toml:36: trunk \"teams\": Teams is reached over TLS only, and listener \"carrier\" has transport \"udp\"\nhint: did you mean listener = \"teams\"?",
        ),
        // TDR-DNS-002
        (
            MAIN,
            "roots = ",
            "targets = [\"sip-all.pstnhub.microsoft.com:5061\"]\nroots = ",
            "tollgate.toml:37: trunk \"teams\": \"sip-all.pstnhub.microsoft.com:5061\" in `targets` was retired by Microsoft in 2022\nhint: did you mean \"sip.pstnhub.microsoft.com\"?",
        ),
        (
            MAIN,
            "\"sip.pstnhub.microsoft.com\"",
            "\"SIP-all.pstnhub.microsoft.com\"",
            "tollgate.toml:16: [resolve]: \"sip-all.pstnhub.microsoft.com\" was retired by Microsoft in 2022\nhint: did you mean \"sip.pstnhub.microsoft.com\"?",
        ),
        // TDR-DNS-003
        (
            MAIN,
            "roots = ",
            "targets = [\"52.114.7.24:5061\"]\nroots = ",
            "tollgate.toml:37: trunk \"teams\": \"52.114.7.24:5061\" in `targets` is an address; Teams is reached by name\nhint: in a lab, name it here and give its address under [resolve]",
        ),
        // TDR-DNS-006
        (
            MAIN,
            "\"commercial\"\nlistener = \"teams\"",
            "\"dod\"\nlistener = \"other\"",
            "tollgate.toml:36: trunk \"teams\" names listener \"other\", which does not exist\nhint: known are carrier, teams",
        ),
        // TDR-XFR-022
        (
            TENANT,
            "numbers = ",
            "tenant_id = \"contoso.example\"\nnumbers = ",
            "tenants.d/contoso.toml:2: `tenant_id = \"contoso.example\"` is not a GUID\nhint: Get-CsTenant shows it as TenantId: \"4d2ba0f6-1c3e-4f5a-8b7c-a1b2c3d4e5f6\"",
        ),
        // TDR-DNS-008
        (
            TENANT,
            "contoso.sbc1.example.net",
            "contoso.onmicrosoft.com",
            "tenants.d/contoso.toml:1: \"contoso.onmicrosoft.com\" in `fqdns` is under onmicrosoft.com, where no SBC can be\nhint: use a domain that is registered in the tenant",
        ),
        (
            TENANT,
            "contoso.sbc1.example.net",
            "the-very-long-name-of-a-customer-of-ours-contoso.sbc1.example.net",
            "tenants.d/contoso.toml:1: \"the-very-long-name-of-a-customer-of-ours-contoso.sbc1.exampl...\" in `fqdns` has 65 characters; Teams takes 63",
        ),
        // TDR-CRT-004
        (
            TENANT,
            "contoso.sbc1.example.net",
            "sbc.contoso.sbc1.example.net",
            "tenants.d/contoso.toml:1: tenant \"contoso\": \"sbc.contoso.sbc1.example.net\" is not covered by certificate \"wild\" for sbc1.example.net, *.sbc1.example.net\nhint: a wildcard stands for one label only",
        ),
        (
            MAIN,
            "fqdn = \"sbc1.example.net\"",
            "fqdn = \"sbc2.example.org\"",
            "tollgate.toml:2: [node]: \"sbc2.example.org\" is not covered by certificate \"wild\" for sbc1.example.net, *.sbc1.example.net\nhint: ask for a certificate with this name",
        ),
    ]);
}

/// TDR-DNS-006
#[test]
fn a_government_cloud_reaches_5061_only() {
    let directory = Directory::sample().edit(MAIN, "\"commercial\"", "\"dod\"").edit(
        MAIN,
        "\"203.0.113.10:5061\"",
        "\"203.0.113.10:5067\"",
    );
    assert_eq!(
        directory.problems(),
        "tollgate.toml:36: trunk \"teams\": this cloud reaches an SBC on port 5061 only, and listener \"teams\" advertises 203.0.113.10:5067"
    );
}

#[test]
fn keys_that_would_do_nothing() {
    each_is_told(&[
        (
            MAIN,
            "srtp = \"off\"",
            "cloud = \"dod\"",
            "tollgate.toml:44: trunk \"colt\": `cloud` does nothing here: only a trunk with kind = \"teams\" is in a cloud of Microsoft's",
        ),
        (
            MAIN,
            "srtp = \"off\"",
            "roots = \"root.pem\"",
            "tollgate.toml:44: trunk \"colt\": `roots` does nothing here: listener \"carrier\" has no TLS",
        ),
        (
            MAIN,
            "srtp = \"off\"",
            "peer_names = [\"sip.colt.example\"]",
            "tollgate.toml:44: trunk \"colt\": `peer_names` does nothing here: listener \"carrier\" has no TLS",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "symmetric_rtp = true",
            "tollgate.toml:35: trunk \"teams\": `symmetric_rtp` does nothing here: SRTP from Teams is believed by its authentication",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "dtmf = \"info\"",
            "tollgate.toml:35: trunk \"teams\": `dtmf` does nothing here: Teams tells keys, and is told them, by telephone events alone",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "fax = \"t38\"",
            "tollgate.toml:35: trunk \"teams\": `fax` does nothing here: Teams knows no T.38: its calls stay in audio",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "ice_timeout = \"40s\"",
            "tollgate.toml:35: trunk \"teams\": `ice_timeout` does nothing here: no leg of this trunk does ICE; media_timeout ends calls of any",
        ),
        (
            MAIN,
            "srtp = \"off\"",
            "srtp = \"off\"\nice = \"off\"\nice_timeout = \"off\"",
            "tollgate.toml:46: trunk \"colt\": `ice_timeout` does nothing here: no leg of this trunk does ICE; media_timeout ends calls of any",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "hold = \"sendonly\"",
            "tollgate.toml:35: trunk \"teams\": `hold` does nothing here: each tenant says how Teams is told of a hold: `hold` in its file",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "early_media = \"authorized\"",
            "tollgate.toml:35: trunk \"teams\": `early_media` does nothing here: Teams says no P-Early-Media",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "forwarding = \"both\"",
            "tollgate.toml:35: trunk \"teams\": `forwarding` does nothing here: Teams is told who diverted a call by History-Info, always",
        ),
        (
            MAIN,
            "cloud = \"commercial\"",
            "identity = \"untrusted\"",
            "tollgate.toml:35: trunk \"teams\": `identity` does nothing here: Microsoft asserts who calls, and reads no assertion of ours",
        ),
        (
            MAIN,
            "transport = \"udp\"",
            "transport = \"tcp\"\ncertificate = \"wild\"",
            "tollgate.toml:30: listener \"carrier\": `certificate` does nothing here: only a listener with transport = \"tls\" has one",
        ),
    ]);
}

#[test]
fn what_is_claimed_twice() {
    let media = "[[media.address]]\nname = \"inside\"\nbind = \"10.0.0.1\"\nports = \"29000-30999\"\n[resolve]";
    let directory = Directory::sample()
        .edit(MAIN, "[resolve]", media)
        .edit(MAIN, "\"0.0.0.0:5060\"", "\"0.0.0.0:20010\"")
        .edit(MAIN, "127.0.0.1:9464", "127.0.0.1:5061");
    let expected = "tollgate.toml:14: media address \"outside\": ports 20000-29999 hold port 20010 of listener \"carrier\" at tollgate.toml:34\n\
        tollgate.toml:18: media address \"inside\": ports 29000-30999 overlap 20000-29999 of media address \"outside\" at tollgate.toml:14\n\
        tollgate.toml:28: listener \"teams\": `bind = \"0.0.0.0:5061\"` is taken by [metrics], 127.0.0.1:5061 at tollgate.toml:5";
    assert_eq!(directory.problems(), expected);
}

/// TDR-MT-002, TDR-MT-004.
#[test]
fn a_number_or_fqdn_of_two_tenants_names_both_and_both_places() {
    let fabrikam = "fqdns = [\n  \"fabrikam.sbc1.example.net\",\n  \"Contoso.sbc1.example.net\",\n]\n\
        numbers = [\"+4930123459-+4930123470\", \"+4930123452\", \"+493012345\"]\n";
    let directory = Directory::sample().with("tenants.d/fabrikam.toml", fabrikam);
    let expected = "tenants.d/fabrikam.toml:3: FQDN \"contoso.sbc1.example.net\" of tenant \"fabrikam\" is already that of tenant \"contoso\" at tenants.d/contoso.toml:1\n\
        hint: an FQDN tells one tenant from another\n\
        tenants.d/fabrikam.toml:5: numbers +4930123452 of tenant \"fabrikam\" overlap +4930123450-+4930123459 of tenant \"contoso\" at tenants.d/contoso.toml:2\n\
        hint: a number belongs to one tenant of the host\n\
        tenants.d/fabrikam.toml:5: numbers +4930123459-+4930123470 of tenant \"fabrikam\" overlap +4930123450-+4930123459 of tenant \"contoso\" at tenants.d/contoso.toml:2\n\
        hint: a number belongs to one tenant of the host";
    assert_eq!(directory.problems(), expected);
}

#[test]
fn numbers_and_routes_that_cannot_be() {
    each_is_told(&[
        (
            TENANT,
            "\"+4930123450-+4930123459\"",
            "\"4930123450\", \"004930123450\", \"+4930123459-+4930123450\", \"+491-+4910\", \"+1234567890123456789\"",
            "tenants.d/contoso.toml:2: \"+1234567890123456789\" in `numbers` is not a number or range in E.164, such as \"+4930123450-+4930123459\"\n\
             tenants.d/contoso.toml:2: \"+491-+4910\" in `numbers` begins with 3 digits and ends with 4\nhint: both ends of a range have the same length; write a range per length\n\
             tenants.d/contoso.toml:2: \"+4930123459-+4930123450\" in `numbers` ends before it begins\nhint: did you mean \"+4930123450-+4930123459\"?\n\
             tenants.d/contoso.toml:2: \"004930123450\" in `numbers` is not a number or range in E.164, such as \"+4930123450-+4930123459\"\nhint: did you mean \"+4930123450\"?\n\
             tenants.d/contoso.toml:2: \"4930123450\" in `numbers` is not a number or range in E.164, such as \"+4930123450-+4930123459\"",
        ),
        (
            TENANT,
            "\"+49*\"",
            "\"+49*1\"",
            "tenants.d/contoso.toml:8: route \"+49*1\": `match = \"+49*1\"` is not a pattern of numbers\nhint: numbers are \"+4930123\", \"+49*\", \"+4930123450-+4930123459\", '/^\\+49(30|40)/' or \"*\" for all",
        ),
        (
            TENANT,
            "from = \"carrier\"",
            "from = \"teams\"",
            "tenants.d/contoso.toml:13: route \"*\": calls from Teams cannot go to trunk \"teams\", which is Teams itself\nhint: name a trunk with kind = \"carrier\", or write from = \"carrier\"",
        ),
        (TENANT, "match = \"+49*\"\n", "", "tenants.d/contoso.toml:6: route 1: `match` is missing"),
        (TENANT, "[\"teams\"]", "[]", "tenants.d/contoso.toml:13: route \"*\": `to` is empty"),
        (
            TENANT,
            "match = \"+49*\"",
            "match = \"+49*\"\nemergency = true",
            "tenants.d/contoso.toml:6: route \"+49*\": is for emergency numbers, and the tenant has none\nhint: emergency = [\"112\"], or country = \"DE\", above the first table",
        ),
        (
            TENANT,
            "[limits]",
            "emergency = [\"112\", \"+110\"]\n[limits]",
            "tenants.d/contoso.toml:3: \"+110\" in `emergency` begins with +; emergency numbers are dialled without\nhint: did you mean \"110\"?\n\
             tenants.d/contoso.toml:3: emergency number \"112\" is matched by no route from Teams\nhint: [[route]] from = \"teams\" emergency = true match = \"*\" to = [...]",
        ),
    ]);
}

#[test]
fn a_route_from_a_carrier_may_go_to_a_carrier() {
    let directory = Directory::sample().edit(TENANT, "[\"teams\"]", "[\"teams\", \"bt\"]");
    assert_eq!(directory.problems(), "");
}

/// TDR-CRT-005
#[test]
fn certificates_that_cannot_be_used() {
    let directory = Directory::sample();
    std::fs::remove_file(directory.path.join("wild.pem")).unwrap();
    let expected = "tollgate.toml:19: certificate \"wild\": wild.pem cannot be read: there is no such file\n\
        hint: a relative name starts at the folder of tollgate.toml";
    assert_eq!(directory.problems(), expected);

    directory.certificate("other", &["sbc1.example.net"], Key::P256);
    let directory = directory.edit(MAIN, "\"wild.pem\"", "\"other.pem\"");
    let expected = "tollgate.toml:20: certificate \"wild\": wild.key is not the key of the first certificate in other.pem\n\
        hint: give the key that the certificate was requested with";
    assert_eq!(directory.problems(), expected);

    // TDR-CRT-005
    let names = ["sbc1.example.net", "*.sbc1.example.net"];
    let request = Request { names: &names, purpose: Purpose::Client, ..Request::default() };
    let leaf = Authority::new("Lab").unwrap().issue(&request).unwrap();
    let directory = Directory::sample();
    leaf.write(&directory.path, "wild").unwrap();
    let expected = "tollgate.toml:19: certificate \"wild\" is not meant for servers, and Teams refuses it\n\
        hint: ask for extended key usage serverAuth";
    assert_eq!(directory.problems(), expected);

    let directory = Directory::sample().with("root.pem", "no PEM");
    let expected = "tollgate.toml:37: trunk \"teams\": roots: root.pem holds no certificate\n\
        hint: give a PEM file with a block -----BEGIN CERTIFICATE-----";
    assert_eq!(directory.problems(), expected);
}

#[test]
fn a_key_in_the_file_itself_is_refused_and_not_repeated() {
    let secret = "key = \"\"\"-----BEGIN PRIVATE KEY-----\nMIIEvQ\n\"\"\"";
    let told = Directory::sample().edit(MAIN, "key = \"wild.key\"", secret).problems();
    let expected = "tollgate.toml:20: certificate \"wild\": `key = \"-----BEGIN ...\"` holds the secret or certificate itself\n\
        hint: keep it in a file of its own and write the file's name here";
    assert_eq!(told, expected);
}

#[test]
fn a_syntax_error_hides_nothing_elsewhere() {
    // Also not elsewhere in the same file, and nothing that it may have swallowed is called missing.
    let fabrikam = CONTOSO.replace("contoso", "fabrikam").replace("+4930", "+4940");
    let directory = Directory::sample()
        .edit(MAIN, "name = \"bt\"", "name = \"bt")
        .edit(MAIN, "srtp = \"off\"", "srtp = \"of\"")
        .edit(TENANT, "calls = 200", "calls = two hundred")
        .with("tenants.d/fabrikam.toml", &fabrikam)
        .edit("tenants.d/fabrikam.toml", "calls = 200", "calls = -1");
    let expected = "tollgate.toml:44: trunk \"colt\": `srtp = \"of\"` is not one of required, preferred, off\n\
        hint: did you mean \"off\"?\n\
        tollgate.toml:48: is not TOML: invalid basic string, expected `\"`\n\
        tenants.d/contoso.toml:4: is not TOML: string values must be quoted, expected literal string\n\
        tenants.d/fabrikam.toml:4: [limits]: `calls = -1` is not between 1 and 1000000";
    assert_eq!(directory.problems(), expected);
}

#[test]
fn files_that_cannot_be_read() {
    let directory = Directory::new().with(TENANT, &CONTOSO.replace("200", "0"));
    let expected = "tollgate.toml:1: cannot be read: there is no such file\n\
        hint: --config or $TOLLGATE_CONFIG names the directory that it is in; systemd/config of the sources is a commented example\n\
        tenants.d/contoso.toml:4: [limits]: `calls = 0` is not between 1 and 1000000";
    assert_eq!(directory.problems(), expected);

    let huge = format!("# {}", "x".repeat(5 << 20));
    let directory = Directory::sample().with("tenants.d/huge.toml", &huge);
    std::fs::write(directory.path.join("tenants.d/latin.toml"), b"# ok\n# M\xfcller\n").unwrap();
    let expected = "tenants.d/huge.toml:1: cannot be read: it is larger than 4096 KiB\n\
        tenants.d/latin.toml:2: is not UTF-8";
    assert_eq!(directory.problems(), expected);

    let directory = Directory::sample()
        .with("tenants.d/a b.toml", &CONTOSO.replace("contoso", "b").replace("+4930", "+4940"));
    let expected = "tenants.d/a b.toml:1: the file's name makes the tenant \"a b\", which is not a name\n\
        hint: letters, digits, `-`, `_` and `.`, at most 64, a letter or digit first";
    assert_eq!(directory.problems(), expected);
}

#[test]
fn an_empty_configuration_is_told_what_it_lacks() {
    let told = Directory::new().with(MAIN, "").problems();
    let expected = "tollgate.toml:1: `listener` is missing\nhint: there is at least one [[listener]]\n\
        tollgate.toml:1: `node` is missing\nhint: [node] names this host: fqdn = \"sbc1.example.net\"\n\
        tollgate.toml:1: `trunk` is missing\nhint: there is at least one [[trunk]]\n\
        tollgate.toml:1: there is no `[[media.address]]` for audio\n\
        hint: [[media.address]] name = \"outside\" bind = \"0.0.0.0\" advertise = \"203.0.113.10\" ports = \"20000-29999\"";
    assert_eq!(told, expected);
}

#[test]
fn ten_mistakes_in_one_file_are_ten_problems() {
    let host = HOST
        .replace("workers = 1", "workers = 1000")
        .replace("engine = ", "engin = ")
        .replace("\"0.0.0.0\"", "\"0.0.0\"")
        .replace("20000-29999", "20000:29999")
        .replace("transport = \"tls\"", "transport = \"TLS\"")
        .replace("203.0.113.10:5060", "203.0.113.10")
        .replace("cloud = \"commercial\"", "cloud = \"comercial\"")
        .replace(
            "listener = \"carrier\"\ntargets = [\"192",
            "listener = \"carier\"\ntargets = [\"192",
        )
        .replace("srtp = \"off\"", "srtp = true")
        .replace("sources = [\"198.51.100.20\"]\n", "");
    let told = Directory::sample().with(MAIN, &host).problems();
    let expected = r#"tollgate.toml:8: [media]: `workers = 1000` is not between 1 and 128
tollgate.toml:9: [media]: unknown key `engin`
hint: did you mean `engine`?
tollgate.toml:12: media address "outside": `bind = "0.0.0"` is not an IP address
tollgate.toml:14: media address "outside": `ports = "20000:29999"` is not a port range such as "20000-29999"
tollgate.toml:23: listener "teams": `transport = "TLS"` is not one of udp, tcp, tls
hint: did you mean "tls"?
tollgate.toml:31: listener "carrier": `advertise = "203.0.113.10"` has no port
hint: add it, such as "203.0.113.10:5061"
tollgate.toml:35: trunk "teams": `cloud = "comercial"` is not one of commercial, gcc-high, dod
hint: did you mean "commercial"?
tollgate.toml:41: trunk "colt" names listener "carier", which does not exist
hint: did you mean "carrier"?
tollgate.toml:44: trunk "colt": `srtp = true` is true or false where text is expected
hint: put it in quotes: "true"
tollgate.toml:47: trunk "bt": `sources` is missing
hint: where the carrier calls from: sources = ["192.0.2.0/28"]"#;
    assert_eq!(told, expected);
}

#[test]
fn media_bypass_where_it_cannot_be() {
    let bypass = "kind = \"teams\"\nbypass = true";
    let ours = Directory::sample().edit(MAIN, "kind = \"teams\"", bypass);
    assert_eq!(ours.load().plan.trunks[0].ice, sdp::IcePolicy::Bypass);
    let second = "[[trunk]]\nname = \"direct\"\nkind = \"teams\"\nlistener = \"teams\"\nroots = \"root.pem\"\n[[trunk]]\nname = \"colt\"";
    let told = ours.edit(MAIN, "[[trunk]]\nname = \"colt\"", second).problems();
    assert!(
        told.starts_with(
            "tollgate.toml:35: trunk \"teams\": `bypass = true` needs a listener of its own: Microsoft knows one FQDN and port as a trunk with media bypass or as one without, and trunk \"direct\" is on the same"
        ),
        "{told}"
    );
    let six = "advertise = \"2001:db8::10\"\nports";
    let told = Directory::sample()
        .edit(MAIN, "kind = \"teams\"", bypass)
        .edit(MAIN, "advertise = \"203.0.113.10\"\nports", six)
        .problems();
    assert!(
        told.contains("trunk \"teams\": media bypass is IPv4 only, and its media address advertises 2001:db8::10"),
        "{told}"
    );
    each_is_told(&[(
        MAIN,
        "srtp = \"off\"",
        "srtp = \"off\"\nbypass = true",
        "tollgate.toml:45: trunk \"colt\": `bypass` does nothing here: media bypass is between Teams clients and us",
    )]);
}
