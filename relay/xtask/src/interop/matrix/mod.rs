//! `cargo xtask matrix`: each kind of leg with each kind of far end, through the real program. baresip and
//! rtpengine are the far ends; recordings are judged by Fourier transform, the wire by tshark.

mod channel;
mod judge;
mod network;
mod pair;
mod play;
mod rtpengine;
mod stage;
mod station;
mod talker;

use super::capture::{FIELDS, Packet, Stream, said, tshark};
use super::pki::Authority;
use super::process::Process;
use super::{namespace, read_results};
use crate::bench::{Bench, TemporaryFolder};
use crate::fail::{Fail, Outcome, While, ensure};
use crate::packages;
use crate::tally::Tally;
use judge::{Case, Heard};
use pair::{Pair, Peer, Weather};
use play::{Play, TONES};
use serde_json::{Value, json};
use stage::{FAR_NAME, OWN_NAME, Placed, Stage};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The hidden verb under which this program runs itself inside the private network.
pub(crate) const INSIDE: &str = "matrix-inside";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    pairwise: bool,
    list: bool,
    /// Pairs with all these words in their name, and none of those with a `!` before them.
    only: String,
    /// The program to be judged, if it is not to be built.
    binary: Option<PathBuf>,
    /// Where the results go as JSON.
    json: Option<PathBuf>,
}

impl Options {
    fn read(mut words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        loop {
            words = match words {
                [] => return Some(options),
                ["--pairwise", rest @ ..] => {
                    options.pairwise = true;
                    rest
                }
                ["--list", rest @ ..] => {
                    options.list = true;
                    rest
                }
                ["--only", name, rest @ ..] => {
                    options.only = (*name).to_owned();
                    rest
                }
                ["--binary", path, rest @ ..] => {
                    options.binary = Some(PathBuf::from(path));
                    rest
                }
                ["--json", path, rest @ ..] => {
                    options.json = Some(PathBuf::from(path));
                    rest
                }
                _ => return None,
            };
        }
    }

    /// How the part inside the network is told.
    fn part(&self) -> String {
        format!("{}{}", if self.pairwise { "pairwise/" } else { "" }, self.only)
    }
}

/// `cargo xtask matrix`; nothing if the words are none of it.
pub(crate) fn run(words: &[&str]) -> Option<ExitCode> {
    let options = Options::read(words)?;
    if options.list {
        list(&options);
        return Some(ExitCode::SUCCESS);
    }
    let tally = play(&options).unwrap_or_else(|fail| {
        println!("{fail}");
        Tally::fail("matrix")
    });
    println!("{}", tally.closing(true));
    Some(tally.exit_code(true))
}

fn list(options: &Options) {
    for pair in wanted(&options.part()) {
        println!("{pair}");
    }
    for (pair, reason) in pair::all().1 {
        println!("{pair}: {reason}");
    }
}

fn play(options: &Options) -> Outcome<Tally> {
    let bench = Bench::open()?;
    let binary = match &options.binary {
        Some(path) => path.canonicalize().while_(path.display())?,
        None => bench.release_binary()?,
    };
    let (tally, results) = go(&bench, &binary, &options.part())?;
    if let Some(path) = &options.json {
        std::fs::write(path, results).while_(path.display())?;
    }
    Ok(tally)
}

/// The few that cover each two choices, as one of the checks.
pub(crate) fn check(bench: &Bench) -> Outcome<Tally> {
    let binary = bench.release_binary()?;
    let part = format!("pairwise/{}", bench.part);
    Ok(go(bench, &binary, &part)?.0)
}

fn go(bench: &Bench, binary: &Path, part: &str) -> Outcome<(Tally, String)> {
    let skip = |why: String| Ok((Tally::skip(why), String::new()));
    let missing = packages::provide(packages::MATRIX, &bench.scratch)?;
    if !missing.is_empty() {
        return skip(format!("matrix (needs {})", packages::names(&missing)));
    }
    if let Err(fail) = namespace::probe() {
        println!("    {fail}");
        return skip("matrix (needs root with CAP_SYS_ADMIN for a private network)".to_owned());
    }
    let mut folder = TemporaryFolder::new("matrix")?;
    let tally = namespace::run_verb(INSIDE, folder.path(), binary, part)
        .and_then(|()| read_results(&folder.path().join(super::RESULTS), "matrix"));
    if tally.as_ref().map_or(true, |tally| !tally.failed.is_empty()) {
        folder.keep();
    }
    let results = std::fs::read_to_string(folder.path().join(JSON)).unwrap_or_default();
    let beside = bench.scratch.join(JSON);
    std::fs::write(&beside, &results).while_(beside.display())?;
    println!("    results: {}", beside.display());
    Ok((tally?, results))
}

const JSON: &str = "matrix.json";

/// The pairs that a part names.
fn wanted(part: &str) -> Vec<Pair> {
    let (pairs, only) = match part.strip_prefix("pairwise/") {
        Some(only) => (pair::covering(), only),
        None => (pair::all().0, part),
    };
    pairs.into_iter().filter(|pair| is_meant(&pair.to_string(), only)).collect()
}

/// Does a name have all these words in it, and none of those with a `!` before them?
fn is_meant(name: &str, only: &str) -> bool {
    only.split(',').all(|word| match word.strip_prefix('!') {
        Some(word) => !name.contains(word),
        None => name.contains(word),
    })
}

/// The part that runs inside the private network.
pub(crate) fn inside(folder: &Path, binary: &Path, part: &str) -> ExitCode {
    match network::lay(folder).and_then(|()| play_all(folder, binary, part)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            println!("    {fail}");
            ExitCode::FAILURE
        }
    }
}

/// What came of a pair.
struct Result {
    pair: Pair,
    outcome: Outcome,
}

fn play_all(folder: &Path, binary: &Path, part: &str) -> Outcome {
    let began = Instant::now();
    let mut pairs = wanted(part);
    ensure(!pairs.is_empty(), || "no pair has this name; --list names them".to_owned())?;
    // One weather at a time: it is the same for everybody.
    pairs.sort_by_key(|pair| pair.weather as u8);
    let places = play::place(&pairs)?;
    let authority = Authority::new(folder, "matrix", "Matrix Root")?;
    let own = authority.leaf("own", &names(&[OWN_NAME, &format!("*.{OWN_NAME}")]), BOTH)?;
    let far = authority.leaf("far", &names(&[FAR_NAME]), BOTH)?;
    let pem = folder.join("far.both.pem");
    let mut text = std::fs::read(&far.chain).while_(far.chain.display())?;
    text.extend(std::fs::read(&far.key).while_(far.key.display())?);
    std::fs::write(&pem, text).while_(pem.display())?;
    let ends: Vec<Placed> = places.iter().flatten().cloned().collect();
    let engine_at: Vec<Ipv4Addr> = ends
        .iter()
        .filter(|placed| placed.end.peer == Peer::Rtpengine)
        .map(|placed| placed.address)
        .collect();
    let engine = rtpengine::Engine::start(folder, &engine_at)?;
    let stage = Stage::start(binary, folder, &authority.root, &own, &ends)?;
    println!("    {} pairs, ready after {:.0} s", pairs.len(), began.elapsed().as_secs_f64());

    let mut results: Vec<Result> = Vec::new();
    let all: Vec<(Pair, [Placed; 2])> = pairs.iter().copied().zip(places).collect();
    for (number, batch) in all
        .chunk_by(|a, b| a.0.weather == b.0.weather)
        .flat_map(|same| same.chunks(AT_ONCE))
        .enumerate()
    {
        let folder = folder.join(format!("batch-{number}"));
        std::fs::create_dir_all(&folder).while_(folder.display())?;
        for result in play_batch(batch, results.len(), &folder, &pem)? {
            let done = results.len() + 1;
            let (verdict, why) = match &result.outcome {
                Ok(()) => match result.pair.refusal() {
                    None => ("ok", String::new()),
                    Some(cause) => ("ok", format!(": {cause}")),
                },
                Err(fail) => ("FAILED", format!("\n        {fail:.900}")),
            };
            println!("    [{done}/{}] {} {verdict}{why}", all.len(), result.pair);
            results.push(result);
        }
    }
    let books = books(&stage, &all, &results);
    if results.iter().any(|result| result.outcome.is_err()) || books.is_err() {
        println!("{}", stage.process.fail("ran meanwhile"));
        println!("{}", engine.fail("ran meanwhile"));
    }
    let stopped = stage.stop();
    summary(&results, began);
    write(folder, &results, [("books", books), ("stop", stopped)])
}

/// For certificates of both sides.
const BOTH: &str = "serverAuth,clientAuth";

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("DNS:{name}")).collect::<Vec<_>>().join(",")
}

/// As many as two cores play without any program being late for its packets.
const AT_ONCE: usize = 12;
const _: () = assert!(AT_ONCE <= TONES as usize);

/// Pairs that talk at the same time; so many were played before them.
fn play_batch(
    batch: &[(Pair, [Placed; 2])],
    before: usize,
    folder: &Path,
    pem: &Path,
) -> Outcome<Vec<Result>> {
    let weather = batch.first().map_or(Weather::Fair, |(pair, _)| pair.weather);
    let by_network = network::weather(weather)?;
    if weather != Weather::Fair {
        let who = if by_network { "netem" } else { "the talkers (this kernel has no netem)" };
        println!("    {weather:?}, made by {who}");
    }
    let own = if by_network { Weather::Fair } else { weather };
    let mut plays = Vec::new();
    for (at, (pair, ends)) in batch.iter().enumerate() {
        plays.push((*pair, Play::prepare(*pair, ends.clone(), before + at, own, folder, pem)));
    }
    let wire = Wire::start(folder)?;
    let mut outcomes: Vec<Outcome<Option<[Heard; 2]>>> = Vec::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (at, (_, play)) in plays.iter_mut().enumerate() {
            threads.push(scope.spawn(move || match play {
                Ok(play) => {
                    std::thread::sleep(APART * at as u32);
                    match play.pair.refusal() {
                        Some(_) => play.is_refused().map(|()| None),
                        None => play.play(at % 2 == 0).map(Some),
                    }
                }
                Err(fail) => Err(Fail(format!("did not start: {fail}"))),
            }));
        }
        let lost = || Err(Fail::new("the thread of the pair panicked"));
        outcomes.extend(threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())));
    });
    let (packets, streams) = wire.stop()?;
    network::weather(Weather::Fair)?;
    let mut results = Vec::new();
    for ((pair, play), heard) in plays.iter().zip(outcomes) {
        let outcome = heard.and_then(|heard| {
            let (Ok(play), Some(heard)) = (play, heard) else { return Ok(()) };
            let [caller, callee] = &play.ends;
            let (ends, tones_hz) = ([caller, callee], play.tones_hz);
            Case { pair: &play.pair, ends, tones_hz, heard, packets: &packets, streams: &streams }
                .judge()
        });
        results.push(Result { pair: *pair, outcome });
    }
    Ok(results)
}

/// Between the beginnings of two calls: not all handshakes at the same moment.
const APART: Duration = Duration::from_millis(60);

/// Every call that was carried is in the records as answered, and every other with why it was not to be.
fn books(stage: &Stage, all: &[(Pair, [Placed; 2])], results: &[Result]) -> Outcome {
    let good = results.iter().filter(|result| result.outcome.is_ok()).count();
    let records = stage.records(good)?;
    for ((pair, ends), result) in all.iter().zip(results) {
        let number = ends[1].number.as_str();
        let of = |record: &&Value| record["to"] == number;
        if result.outcome.is_err() {
            continue;
        }
        let of: Vec<&Value> = records.iter().filter(of).collect();
        let [record] = *of else {
            return Err(Fail(format!("{pair}: {} records", of.len())));
        };
        match pair.refusal() {
            None => ensure(record["status"] == 200, || format!("{pair}: {record}"))?,
            Some(cause) => {
                // The far side, told by an alert, may hang up before we do; nobody is heard all the same.
                let silent = ["a", "b"].iter().all(|leg| record["media"][leg]["sent"] == 0);
                let theirs =
                    record["cause"] == "callee_hangup" || record["cause"] == "caller_hangup";
                let refused = silent && (record["cause"] == cause || theirs);
                ensure(refused, || format!("{pair}: {record}"))?;
            }
        }
    }
    Ok(())
}

fn summary(results: &[Result], began: Instant) {
    let failed = results.iter().filter(|result| result.outcome.is_err()).count();
    println!("\n    {:<44} {:>6} {:>6}", "kind", "played", "failed");
    let mut kinds: Vec<(String, usize, usize)> = Vec::new();
    for result in results {
        let Pair { caller, callee, weather } = result.pair;
        let end = if caller.peer == Peer::Plain { callee } else { caller };
        let kind = match (caller.peer == Peer::Plain || callee.peer == Peer::Plain, weather) {
            (true, Weather::Fair) => format!("{:?} {:?} {:?}", end.peer, end.keying, end.path),
            (true, weather) => format!("{:?} {weather:?}", end.peer),
            (false, _) => "two ends unlike each other".to_owned(),
        };
        let bad = usize::from(result.outcome.is_err());
        match kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, played, failed)) => (*played, *failed) = (*played + 1, *failed + bad),
            None => kinds.push((kind, 1, bad)),
        }
    }
    for (kind, played, failed) in kinds {
        println!("    {kind:<44} {played:>6} {failed:>6}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("    {:<44} {:>6} {failed:>6}   {seconds:.0} s\n", "all", results.len());
    let (_, impossible) = pair::all();
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for (_, reason) in impossible {
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    for (reason, count) in reasons {
        println!("    {count} combinations do not exist: {reason}");
    }
}

fn write(folder: &Path, results: &[Result], further: [(&str, Outcome); 2]) -> Outcome {
    let mut lines = String::new();
    let mut rows = Vec::new();
    let ours = results.iter().map(|result| (result.pair.to_string(), &result.outcome));
    let further = further.iter().map(|(name, outcome)| ((*name).to_owned(), outcome));
    for (name, outcome) in ours.chain(further) {
        let why = outcome.as_ref().err().map(|fail| fail.0.clone());
        let verdict = if why.is_some() { "failed" } else { "ok" };
        if name == "books" || name == "stop" {
            let why = why.as_deref().unwrap_or_default();
            println!("    {name} {verdict} {why}");
        }
        lines.push_str(&format!("{verdict} {name}\n"));
        rows.push(json!({ "pair": name, "verdict": verdict, "why": why }));
    }
    for (pair, reason) in pair::all().1 {
        rows.push(json!({ "pair": pair.to_string(), "verdict": "impossible", "why": reason }));
    }
    let path = folder.join(JSON);
    let text = serde_json::to_string_pretty(&rows).while_(JSON)?;
    std::fs::write(&path, text).while_(path.display())?;
    std::fs::write(folder.join(super::RESULTS), lines).while_(super::RESULTS)
}

/// The capture on Tollgate's wire.
struct Wire {
    process: Process,
    file: PathBuf,
}

impl Wire {
    fn start(folder: &Path) -> Outcome<Self> {
        let file = folder.join("wire.pcapng");
        let mut command = Command::new("tshark");
        command.args(["-q", "-B", "32", "-i", network::BORDER_WIRE, "-f", "udp", "-w"]).arg(&file);
        let process = Process::start("tshark", &mut command, &folder.join("tshark.log"))?;
        let mut wire = Self { process, file };
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).while_("probe")?;
        // tshark says that it captures before it does: only a packet in the file is proof.
        wire.process.until("first captured packet", START, |_| {
            let _ = probe.send_to(b"probe", (channel::BORDER, DISCARD));
            std::fs::metadata(&wire.file).is_ok_and(|file| file.len() > HEADERS)
        })?;
        Ok(wire)
    }

    /// Ends it, and gives back what was captured and what tshark makes of it.
    fn stop(mut self) -> Outcome<(Vec<Packet>, Vec<Stream>)> {
        // dumpcap writes what it holds every so often; the last packets are to be among it.
        std::thread::sleep(FLUSH);
        self.process.signal("INT")?;
        self.process.ended(START)?;
        let mut command = tshark(&self.file);
        command.args(["-Y", "udp", "-T", "fields"]);
        for field in FIELDS {
            command.args(["-e", field]);
        }
        let packets: Vec<Packet> = said(&mut command)?.lines().filter_map(Packet::read).collect();
        let mut command = tshark(&self.file);
        command.args(["-q", "-d", "udp.port==12000-20999,rtp", "-z", "rtp,streams"]);
        let streams = said(&mut command)?.lines().filter_map(Stream::read).collect();
        Ok((packets, streams))
    }
}

/// Where nobody listens (RFC 863).
const DISCARD: u16 = 9;
const START: Duration = Duration::from_secs(60);
const FLUSH: Duration = Duration::from_millis(500);
/// A file is longer than this once it holds a packet.
const HEADERS: u64 = 700;

#[cfg(test)]
mod tests {
    use super::{Options, is_meant};

    #[test]
    fn words_are_asked_for_and_kept_out() {
        assert!(is_meant("baresip-tls-rtp", "tls,!sdes"));
        assert!(!is_meant("baresip-tls-rtp", "tls,!rtp"));
        assert!(is_meant("anything", ""));
    }

    #[test]
    fn an_unknown_word_is_not_ignored() {
        assert_eq!(Options::read(&["--pairwsie"]), None);
        assert_eq!(Options::read(&["--only"]), None);
        let options = Options::read(&["--only", "tls", "--pairwise"]).unwrap();
        assert_eq!(options.part(), "pairwise/tls");
    }
}
