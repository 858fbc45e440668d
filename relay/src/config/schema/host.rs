//! `tollgate.toml`.

use super::Kind::{Flag, List, Table as One, Tables as Several, Text, Whole, Words};
use super::shapes::{ADDRESS, COUNTRY, DURATION, FQDN, NAME, PORTS, SIZE, SOCKET, WILD};
use super::{Table, guard, key, rules, table, trunk};

pub(super) const HOST: Table = table(
    "The host: listeners, trunks, certificates, media.",
    &[
        key("node", One(&NODE), "This host.").required(),
        key("admin", One(&ADMIN), "Where the command line asks the daemon."),
        key("metrics", One(&METRICS), "HTTP: /metrics, /healthz, /readyz."),
        key("log", One(&LOG), "What is logged, and how."),
        key("records", One(&RECORDS), "One JSON line per call."),
        key("state", One(&STATE), "What is kept over restarts."),
        key("media", One(&MEDIA), "Where audio comes in, and who moves it.").required(),
        key("resolve", One(&RESOLVE), "Names with fixed addresses, in place of DNS."),
        key("block", One(&rules::BLOCK), "Calls that are refused, whosever they are."),
        key("certificate", Several(&CERTIFICATE), "Certificates, which listeners name."),
        key("class", Several(&guard::CLASS), "Classes of destinations, for [[fraud]] of tenants."),
        key("listener", Several(&LISTENER), "Where SIP comes in.").required(),
        key("trunk", Several(&trunk::TRUNK), "Microsoft Teams, carriers, PBXs.").required(),
        key("rates", Several(&RATES), "Tables of prices, which routes name as least_cost."),
    ],
);

const RATES: Table = table(
    "A table of prices.",
    &[
        key("name", NAME, "What routes call it.").required(),
        key("file", Text, "A file of prefix,trunk,price, a row a line.").required(),
    ],
);

const NODE: Table = table(
    "This host.",
    &[
        key(
            "fqdn",
            FQDN,
            "The base FQDN of this SBC: the carrier trunk in Microsoft's words, sent in OPTIONS to Teams.",
        )
        .required(),
        key(
            "shutdown_deadline",
            DURATION,
            "How long a graceful stop may take; calls that are left then are ended with BYE.",
        )
        .default("10s"),
        key("calls_max", Whole(1, 500_000), "Calls on the host, all tenants together.")
            .default("10000"),
        key("country", COUNTRY, "The country of trunks and tenants that name none."),
    ],
);

const ADMIN: Table = table(
    "Where the command line asks the daemon.",
    &[key("socket", Text, "The Unix socket. Who may open it may use it.")
        .default("/run/tollgate/admin.sock")],
);

const METRICS: Table = table(
    "HTTP: /metrics, /healthz, /readyz.",
    &[key("listen", SOCKET, "Address and port.").default("127.0.0.1:9464")],
);

const STATE: Table = table(
    "What is kept over restarts.",
    &[key(
        "directory",
        Text,
        "Where the last good configurations are; without it $STATE_DIRECTORY, else the usual place.",
    )
    .default("/var/lib/tollgate")],
);

const LOG: Table = table(
    "What is logged, and how.",
    &[
        key(
            "level",
            Words(&["error", "warn", "info", "debug", "trace"]),
            "The least that is logged.",
        )
        .default("info"),
        key("format", Words(&["text", "json"]), "For people, or one JSON object per line.")
            .default("text"),
    ],
);

const RECORDS: Table = table(
    "One JSON line per call.",
    &[
        key("file", Text, "The file that is written.").default("/var/lib/tollgate/records.jsonl"),
        key("size_max", SIZE, "At this size the next file is begun.").default("64MiB"),
        key("files_max", Whole(1, 1000), "How many files are kept.").default("8"),
    ],
);

const MEDIA: Table = table(
    "Where audio comes in, and who moves it.",
    &[
        key("workers", Whole(1, 128), "Threads that move packets, a core each.").default("1"),
        key(
            "transcoders",
            Whole(0, 128),
            "Threads that turn speech from one codec to another, each for a hundred calls.",
        )
        .default("1"),
        key(
            "engine",
            Words(&["auto", "portable", "steer", "xdp"]),
            "auto takes the fastest engine that works here; portable needs no privileges.",
        )
        .default("auto"),
        key(
            "offload",
            Flag,
            "Whether streams that nothing has to be done to are forwarded within the kernel.",
        )
        .default("false"),
        key("address", Several(&MEDIA_ADDRESS), "Addresses for audio; a trunk picks one by name.")
            .required(),
    ],
);

const MEDIA_ADDRESS: Table = table(
    "An address for audio.",
    &[
        key("name", NAME, "What trunks call it.").required(),
        key("bind", ADDRESS, "The address to bind; 0.0.0.0 or :: are all addresses.").required(),
        key(
            "advertise",
            ADDRESS,
            "The address in SDP. May be left out if bind is a single address.",
        ),
        key("ports", PORTS, "Even ports are RTP, the next odd one RTCP; a call takes four.")
            .required(),
        key("dscp", Whole(0, 63), "What audio is marked with (DSCP); 46 is voice.").default("46"),
    ],
);

const RESOLVE: Table = Table {
    about: "Names with fixed addresses, in place of DNS: for labs and hosts without Internet.",
    keys: &[],
    every: Some(List(&ADDRESS)),
};

const CERTIFICATE: Table = table(
    "A certificate, which listeners name: PEM files, PKCS #12, ACME, or a directory of several.",
    &[
        key("name", NAME, "What listeners call it.").required(),
        key("chain", Text, "PEM file: the certificate and every intermediate, in this order."),
        key("key", Text, "PEM file of its private key."),
        key("pkcs12", Text, "PKCS #12 file with both."),
        key("password_file", Text, "The file that its password is in, and nothing else."),
        key(
            "directory",
            Text,
            "Certificates of tenants: NAME.pem with NAME.key, NAME.p12 with NAME.password, NAME/fullchain.pem with NAME/privkey.pem.",
        ),
        key("acme", One(&ACME), "It is asked for, and renewed, by ACME."),
    ],
);

const ACME: Table = table(
    "A certificate that is asked for, and renewed, by ACME (RFC 8555).",
    &[
        key("server", Text, "The authority's directory, https://...").required(),
        key("names", List(&WILD), "What it covers; a wildcard stands for one label.").required(),
        key(
            "challenge",
            Words(&["http-01", "tls-alpn-01", "dns-01"]),
            "How names are proved: over HTTP on port 80, TLS on port 443, or by records in DNS.",
        )
        .required(),
        key(
            "bind",
            SOCKET,
            "Where proofs are shown; 0.0.0.0:80 for http-01, 0.0.0.0:443 for tls-alpn-01.",
        ),
        key("hook", Text, "For dns-01: the program that writes records."),
        key("settle", DURATION, "For dns-01: until all servers of the zone have a record.")
            .default("30s"),
        key("contacts", List(&Text), "Mail addresses that the authority may write to."),
        key(
            "key",
            Words(&["rsa-2048", "rsa-4096", "p256", "p384"]),
            "The kind of its key; Teams wants RSA.",
        )
        .default("rsa-2048"),
        key("roots", Text, "Whom the authority's server chains to: system, or a PEM file.")
            .default("system"),
        key("account_id", Text, "The customer's account that ours is bound to."),
        key("account_key_file", Text, "The file that its key is in, in base64url."),
    ],
);

const LISTENER: Table = table(
    "Where SIP comes in.",
    &[
        key("name", NAME, "What trunks call it.").required(),
        key("transport", Words(&["udp", "tcp", "tls"]), "Teams is reached over tls only.")
            .required(),
        key("bind", SOCKET, "The address and port to bind.").required(),
        key(
            "advertise",
            SOCKET,
            "What peers are told in Via and Contact. May be left out if bind is a single address.",
        ),
        key("certificate", NAME, "The certificate of a TLS listener."),
    ],
);
