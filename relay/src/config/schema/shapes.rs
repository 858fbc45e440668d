//! Kinds of text that several keys hold. The regular expressions are a help while typing: what they let
//! through is still judged by `tollgate check`.

use super::Kind;

pub(super) const NAME: Kind = Kind::Shaped("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "colt");
pub(super) const DURATION: Kind = Kind::Shaped("^[0-9]+(ms|s|m|h)$", "10s");
pub(super) const DURATION_OR_OFF: Kind = Kind::Shaped("^([0-9]+(ms|s|m|h)|off)$", "60s");
pub(super) const SIZE: Kind = Kind::Shaped("^[0-9]+(KiB|MiB|GiB)$", "64MiB");
pub(super) const FQDN: Kind =
    Kind::Shaped("^[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$", "sbc1.example.net");
pub(super) const WILD: Kind =
    Kind::Shaped("^(\\*\\.)?[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+$", "*.sbc1.example.net");
pub(super) const ADDRESS: Kind = Kind::Shaped("^[0-9a-fA-F.:]+$", "192.0.2.1");
pub(super) const SOCKET: Kind =
    Kind::Shaped("^([0-9.]+|\\[[0-9a-fA-F.:]+\\]):[0-9]+$", "192.0.2.1:5061");
pub(super) const CIDR: Kind = Kind::Shaped("^[0-9a-fA-F.:]+(/[0-9]+)?$", "192.0.2.0/28");
pub(super) const TARGET: Kind = Kind::Shaped(
    "^([A-Za-z0-9.-]+(:[0-9]+)?|[0-9a-fA-F:]+|\\[[0-9a-fA-F:]+\\](:[0-9]+)?)$",
    "192.0.2.7:5060",
);
pub(super) const PORTS: Kind = Kind::Shaped("^[0-9]+ *- *[0-9]+$", "20000-29999");
pub(super) const NUMBERS: Kind =
    Kind::Shaped("^\\+[1-9][0-9]*( *- *\\+[1-9][0-9]*)?$", "+4930123450-+4930123459");
pub(super) const DIALLED: Kind = Kind::Shaped("^[0-9]{2,15}$", "112");
/// What Microsoft calls a tenant.
pub(super) const GUID: Kind = Kind::Shaped(
    "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
    "4d2ba0f6-1c3e-4f5a-8b7c-a1b2c3d4e5f6",
);
/// A country.
pub(super) const COUNTRY: Kind = Kind::Shaped("^[A-Z]{2}$", "DE");
/// Numbers that are meant: all, by prefix, whole, range or regular expression.
pub(super) const PATTERN: Kind =
    Kind::Shaped("^(\\+?[0-9]*\\*|\\+?[0-9]+( *- *\\+?[0-9]+)?|/.*/)$", "+49*");
/// When a route holds.
pub(super) const SPAN: Kind =
    Kind::Shaped("^[A-Za-z0-9,.:-]+( +[0-9:-]+)?$", "mon-fri 08:00-18:00");
pub(super) const TIMEZONE: Kind = Kind::Shaped("^[A-Za-z0-9_+/-]+$", "Europe/Berlin");
