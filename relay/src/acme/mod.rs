//! Certificates had by ACME (RFC 8555): asked for when they are not there, renewed when a third of their
//! life is left. What is had is written into the state directory and comes in force as any changed file
//! does.
//!
//! ```text
//! client.rs   HTTPS to the authority       proof.rs   how names are proved: HTTP, TLS, DNS
//! disk.rs     what is kept of it           hook.rs    the program that writes records
//! ```

mod client;
mod disk;
mod hook;
mod proof;
#[cfg(test)]
mod tests;

use crate::alarms::{self, Alarms, Subject};
use crate::clock;
use crate::config::{AcmeOrder, Challenge};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::Https;
use disk::{Coming, Held};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ExternalAccountKey, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use proof::{Doors, Proof};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};

/// After a failure it is tried again in so long,
const AGAIN_MIN: Duration = Duration::from_secs(300);
/// and each time later, up to this: authorities count failures, and refuse who has too many.
const AGAIN_MAX: Duration = Duration::from_secs(6 * 3600);
/// How often the calendar is looked at.
const GLANCE: Duration = Duration::from_secs(3600);
/// From the first request to the certificate, whatever the authority takes for looking; what records in
/// DNS take is added.
const ORDER_MAX: Duration = Duration::from_secs(600);
/// Orders that are under way together: an authority counts requests by their source, and takes hundreds in
/// a minute.
const ORDERS_MAX: usize = 8;
/// Of those, at one authority: one that is slow is not to have all the places.
const ORDERS_AT_ONE_MAX: usize = ORDERS_MAX / 2;
/// How long the authority may look for a proof, or make a certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(180));

/// Why a certificate could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What the authority says, or that it cannot be reached.
    #[error("{0}")]
    Authority(String),
    /// The authority does not prove names that way.
    #[error("the authority offers no {0} for {1}")]
    NoChallenge(&'static str, String),
    /// A proof cannot be shown.
    #[error("{0}")]
    Proof(String),
    /// A file.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    /// A key or request.
    #[error("a key or request cannot be made: {0}")]
    Request(String),
    /// What has come is not what was asked for: asking again at once would never end.
    #[error("what was issued lacks names that were asked for, or ends at once")]
    Unfit,
    /// It takes too long.
    #[error("it was not there within {} minutes", .0.as_secs().div_ceil(60))]
    TooLong(Duration),
    /// Nobody wants it any more.
    #[error("it is not wanted any more")]
    Unwanted,
}

impl From<instant_acme::Error> for Failure {
    fn from(error: instant_acme::Error) -> Self {
        // A problem document names each name that was refused, with why.
        Self::Authority(error.to_string())
    }
}

/// What is known of an order.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    failures: u32,
    /// Not before.
    again: Option<Instant>,
}

/// Makes room for what is to be had, before it is followed: what is there can only be noticed at once in a
/// folder that is there.
pub(crate) fn make_room(orders: &[AcmeOrder]) {
    // All go into one.
    if let Some(folder) = orders.first().and_then(|order| order.file.parent())
        && let Err(error) = disk::make_folder(folder)
    {
        tracing::warn!(folder = %folder.display(), %error, "certificates cannot be kept");
    }
}

/// Has what is wanted, and keeps it valid, until the sender is gone. Orders run side by side, so that an
/// authority that is slow keeps back no other's. One that is not wanted any more is given up, and so are all
/// when the sender is gone.
pub(crate) async fn keep(mut wanted: watch::Receiver<Arc<[AcmeOrder]>>, alarms: Alarms) {
    let mut tried: BTreeMap<String, (AcmeOrder, Tried)> = BTreeMap::new();
    let doors = Doors::default();
    let mut running = JoinSet::new();
    let mut under_way: HashMap<task::Id, AcmeOrder> = HashMap::new();
    loop {
        let orders = Arc::clone(&wanted.borrow_and_update());
        // One that reads differently now is another.
        tried.retain(|_, (known, _)| orders.contains(known));
        let standing = alarms.list().into_iter().filter(|it| it.word == alarms::ACME_FAILING);
        for alarm in standing {
            let of = |order: &AcmeOrder| subject(order) == alarm.subject;
            if !orders.iter().any(of) {
                alarms.clear(alarms::ACME_FAILING, &alarm.subject);
            }
        }
        let now = clock::now().mono;
        for order in orders.iter() {
            let before = tried.get(&order.certificate).map(|(_, tried)| *tried).unwrap_or_default();
            let waits = before.again.is_some_and(|again| again > now);
            if !waits && has_place(order, &under_way) {
                let (order, wanted, alarms) = (order.clone(), wanted.clone(), alarms.clone());
                let (own, doors) = (order.clone(), doors.clone());
                let asks = async move { attend(&own, before, &wanted, &alarms, &doors).await };
                under_way.insert(running.spawn(asks).id(), order);
            }
        }
        // What is due and waits for another is looked at again when that has ended.
        let next = tried.values().filter_map(|(_, tried)| tried.again).filter(|next| *next > now);
        let rest = next.min().map_or(GLANCE, |next| next.saturating_duration_since(now));
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    // Each takes away what it has shown.
                    while running.join_next().await.is_some() {}
                    return;
                }
            }
            Some(ended) = running.join_next_with_id() => {
                let failed = || Tried { failures: 1, again: Some(clock::now().mono + AGAIN_MIN) };
                let (id, after) = match ended {
                    Ok(ended) => ended,
                    Err(error) => (error.id(), failed()),
                };
                if let Some(order) = under_way.remove(&id) {
                    tried.insert(order.certificate.clone(), (order, after));
                }
            }
            () = tokio::time::sleep(rest.min(GLANCE)) => {}
        }
    }
}

/// Whether an order may be under way beside these.
fn has_place(order: &AcmeOrder, under_way: &HashMap<task::Id, AcmeOrder>) -> bool {
    let same = |other: &&AcmeOrder| other.server == order.server;
    under_way.len() < ORDERS_MAX
        && under_way.values().filter(same).count() < ORDERS_AT_ONE_MAX
        && !under_way.values().any(|other| disturbs(order, other))
}

/// Whether two orders must not be under way together: they want the same certificate, prove the same name
/// at the same time, or would each make the account that they are to share.
fn disturbs(one: &AcmeOrder, other: &AcmeOrder) -> bool {
    let account = account_file(one);
    one.certificate == other.certificate
        || one.names.iter().any(|name| other.names.contains(name))
        || (account == account_file(other) && !account.exists())
}

fn subject(order: &AcmeOrder) -> Subject {
    Subject::Certificate(order.certificate.clone())
}

/// Sees to one: asks for it where that is due.
async fn attend(
    order: &AcmeOrder,
    before: Tried,
    wanted: &watch::Receiver<Arc<[AcmeOrder]>>,
    alarms: &Alarms,
    doors: &Doors,
) -> Tried {
    let held = Held::load(&order.file);
    if let Some(left) = rest(held.as_ref(), order, clock::now().wall) {
        alarms.clear(alarms::ACME_FAILING, &subject(order));
        return Tried { failures: 0, again: Some(clock::now().mono + left.min(GLANCE)) };
    }
    tracing::info!(
        certificate = order.certificate,
        server = order.server,
        "asking for a certificate"
    );
    let left = || {
        let had = Held::load(&order.file);
        rest(had.as_ref(), order, clock::now().wall).ok_or(Failure::Unfit)
    };
    match obtain(order, doors, unwanted(order, wanted.clone())).await.and_then(|()| left()) {
        Ok(left) => {
            tracing::info!(certificate = order.certificate, "certificate is issued");
            metrics::counter!("tollgate_acme_orders_total", "result" => "issued").increment(1);
            alarms.clear(alarms::ACME_FAILING, &subject(order));
            Tried { failures: 0, again: Some(clock::now().mono + left.min(GLANCE)) }
        }
        Err(Failure::Unwanted) => before,
        Err(failure) => {
            metrics::counter!("tollgate_acme_orders_total", "result" => "failed").increment(1);
            let after = again_after(before.failures);
            let until = match &held {
                Some(held) => {
                    let end = humantime::format_rfc3339_seconds(held.identity.not_after());
                    format!("the one in force ends on {end}")
                }
                None => "there is none".to_owned(),
            };
            let minutes = after.as_secs() / 60;
            let text = format!("{failure}; {until}; tried again in {minutes} minutes");
            tracing::warn!(certificate = order.certificate, why = %failure, "no certificate");
            alarms.raise(alarms::ACME_FAILING, subject(order), &text);
            let again = Some(clock::now().mono + after);
            Tried { failures: before.failures.saturating_add(1), again }
        }
    }
}

/// How long a certificate need not be asked for; `None`: it is time, as there is none, it lacks a name, has
/// another kind of key or is another authority's than wanted, or two thirds of its life are over.
fn rest(held: Option<&Held>, order: &AcmeOrder, now: SystemTime) -> Option<Duration> {
    let Held { identity, server } = held?;
    // More is as good: some authorities add a name of their own accord.
    let all = order.names.iter().all(|name| identity.names().contains(name));
    let same = server.as_ref().is_none_or(|server| *server == order.server);
    let due = identity.not_after().checked_sub(identity.lifetime() / 3)?;
    let left = due.duration_since(now).ok()?;
    (all && same && identity.key_kind() == order.key.kind() && !left.is_zero()).then_some(left)
}

/// How long after a failure, the `failures`th of a row from 0, it is tried again.
fn again_after(failures: u32) -> Duration {
    AGAIN_MIN.saturating_mul(1 << failures.min(16)).min(AGAIN_MAX)
}

/// How long an order may take.
fn longest(order: &AcmeOrder) -> Duration {
    let records = match &order.challenge {
        Challenge::Dns(_, settle) => {
            let names = u32::try_from(order.names.len()).unwrap_or(u32::MAX);
            // All others may be at it first.
            let turns = u32::try_from(ORDERS_MAX).unwrap_or(u32::MAX);
            hook::MAX.saturating_mul(names.saturating_mul(turns)).saturating_add(*settle)
        }
        Challenge::Http(_) | Challenge::TlsAlpn(_) => Duration::ZERO,
    };
    ORDER_MAX.saturating_add(records)
}

/// Ends when this order is none any more: it reads differently, is gone, or the daemon stops.
async fn unwanted(order: &AcmeOrder, mut wanted: watch::Receiver<Arc<[AcmeOrder]>>) {
    // An error says that nobody can want anything any more.
    let _ = wanted.wait_for(|orders| !orders.contains(order)).await;
}

/// Has the certificate and writes it down, unless it is given up. However that ends, no proof is left where
/// it was shown.
async fn obtain(
    order: &AcmeOrder,
    doors: &Doors,
    given_up: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let mut proof = Proof::begin(&order.challenge, doors).await?;
    let most = longest(order);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(most, ask(order, &mut proof)) => {
            outcome.unwrap_or(Err(Failure::TooLong(most)))
        }
        () = given_up => Err(Failure::Unwanted),
    };
    proof.end().await;
    outcome
}

async fn ask(order: &AcmeOrder, proof: &mut Proof) -> Result<(), Failure> {
    let (names, kind) = (order.names.clone(), order.key);
    let request = tokio::task::spawn_blocking(move || certs::acme::request(&names, kind)).await;
    let request = request.map_err(|error| Failure::Request(error.to_string()))?;
    let request = request.map_err(|error| Failure::Request(error.to_string()))?;
    let coming = Coming::begin(&order.file, &order.server, request.key)?;
    let account = account(order).await?;
    let identifiers: Vec<Identifier> = order.names.iter().cloned().map(Identifier::Dns).collect();
    let mut open = account.new_order(&NewOrder::new(&identifiers)).await?;
    prove(order, &mut open, proof).await?;
    open.finalize_csr(&request.csr).await?;
    let chain = open.poll_certificate(&PATIENCE).await?;
    coming.finish(&chain, |held| rest(Some(held), order, clock::now().wall).is_some())
}

/// Shows a proof for each name and has the authority look at all.
async fn prove(order: &AcmeOrder, open: &mut Order, proof: &mut Proof) -> Result<(), Failure> {
    let kind = proof::kind(&order.challenge);
    // All are shown before the first is looked at: a zone may need its time.
    let mut authorizations = open.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        asked_for(order, &name)?;
        let offered = authorization.challenge(kind.clone());
        let challenge =
            offered.ok_or_else(|| Failure::NoChallenge(proof::word(&order.challenge), name))?;
        let Identifier::Dns(name) = challenge.identifier().identifier else {
            return Err(Failure::Proof("a name is none".to_owned()));
        };
        proof.show(name, &challenge.token, &challenge.key_authorization()).await?;
    }
    proof.settle().await;
    let mut authorizations = open.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(kind.clone()) {
            challenge.set_ready().await?;
        }
    }
    match open.poll_ready(&PATIENCE).await? {
        OrderStatus::Ready | OrderStatus::Valid => Ok(()),
        _ => Err(Failure::Authority(refusal(open).await)),
    }
}

/// A name goes to a program of the operator's only as the operator has written it.
fn asked_for(order: &AcmeOrder, name: &str) -> Result<(), Failure> {
    let base = |name: &str| name.strip_prefix("*.").unwrap_or(name).to_owned();
    match order.names.iter().any(|wanted| base(wanted) == base(name)) {
        true => Ok(()),
        false => Err(Failure::Authority(format!(
            "the authority wants a proof for {name:?}, which was not asked for"
        ))),
    }
}

/// Why the authority does not believe us, name by name.
async fn refusal(open: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = open.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let Ok(mut authorization) = authorization else { continue };
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        for problem in state.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
            said.push(format!("{name}: {problem}"));
        }
    }
    match said.is_empty() {
        true => "the authority does not believe our proof".to_owned(),
        false => said.join("; "),
    }
}

/// Our account at the authority, which is made where there is none.
async fn account(order: &AcmeOrder) -> Result<Account, Failure> {
    let builder = || -> Result<_, Failure> {
        let https = Https::new(&order.roots).map_err(Failure::Authority)?;
        Ok(Account::builder_with_http(Box::new(https)))
    };
    let contacts: Vec<String> =
        order.contacts.iter().map(|contact| format!("mailto:{contact}")).collect();
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let file = account_file(order);
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let credentials: AccountCredentials = serde_json::from_str(&text)
                .map_err(|error| Failure::File { path: file, error: error.into() })?;
            let account = builder()?.from_credentials(credentials).await?;
            // They may be others by now; that they are not taken is no reason to go without a certificate.
            if let Err(error) = account.update_contacts(&contacts).await {
                tracing::warn!(server = order.server, %error, "contacts are not updated");
            }
            Ok(account)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let account = NewAccount {
                contact: &contacts,
                terms_of_service_agreed: true,
                only_return_existing: false,
            };
            let external = match &order.external {
                Some((id, file)) => Some(ExternalAccountKey::new(id.clone(), &external_key(file)?)),
                None => None,
            };
            let (account, credentials) =
                builder()?.create(&account, order.server.clone(), external.as_ref()).await?;
            let text = serde_json::to_string(&credentials)
                .map_err(|error| Failure::Request(error.to_string()))?;
            disk::write(&file, &text)?;
            Ok(account)
        }
        Err(error) => Err(Failure::File { path: file, error }),
    }
}

/// The key that an authority has given to its customer: base64url, as it hands it out.
fn external_key(file: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::File { path: file.to_owned(), error };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    // Some have it with the padding, some in the other alphabet.
    let text = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| failed(std::io::Error::other("holds no key in base64url")))
}

/// One account for each authority, and for each customer of it.
fn account_file(order: &AcmeOrder) -> PathBuf {
    let customer = order.external.as_ref().map_or("", |(id, _)| id.as_str());
    let hosted: String = order
        .server
        .trim_start_matches("https://")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .take(60)
        .collect();
    let text = format!("{}\n{customer}", order.server);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let digest = URL_SAFE_NO_PAD.encode(digest.as_ref().get(..6).unwrap_or_default());
    let folder = order.file.parent().unwrap_or(Path::new("."));
    folder.join("accounts").join(format!("{hosted}-{digest}.json"))
}
