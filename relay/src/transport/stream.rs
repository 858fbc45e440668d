//! One open connection: octets in become messages, queued messages become octets out.

use super::flow::Outgoing;
use super::{Event, Shared, discarded, via};
use crate::clock;
use b2bua::io::Flow;
use bytes::{Bytes, BytesMut};
use sip_core::Message;
use sip_core::framing::{Framed, Framer};
use sip_core::message::ParseError;
use sip_core::transaction::ClientId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// A far side that says nothing for this long is gone or not needed; at least 5 min (TDR-CON-002).
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// A message that takes longer from its first octet to its last comes from somebody who wants to hold a
/// connection: the largest takes a second over the slowest line that carries calls.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// TDR-CON-006: then the next target is tried.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Read at a time: some messages of usual size.
const READ_OCTETS: usize = 16 * 1024;

/// Messages written as one, where several wait: one TLS record and one system call for all of them.
const TOGETHER_MAX: usize = 16;

/// Requests that are remembered until a new connection is heard from. Beyond it they are left to
/// their timers.
const UNHEARD_MAX: usize = 256;

/// Who opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Accepted,
    Opened,
}

/// Why a connection ends.
enum End {
    /// Nothing more goes in or out.
    Broken(String),
    /// The stream cannot be followed any more, but what is queued may still go out.
    Unreadable,
}

/// Runs a flow to its end. `queue` ends when the flow is taken out of the table.
pub(super) async fn run<S>(
    shared: Arc<Shared>,
    flow: Flow,
    stream: S,
    mut queue: mpsc::Receiver<Outgoing>,
    role: Role,
) where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let _live = shared.live();
    tracing::debug!(flow = flow.id.0, remote = %flow.remote, trunk = %flow.trunk, ?role, "flow opened");
    let unheard = Unheard::new(role);
    let (reader, writer) = tokio::io::split(stream);
    let why = {
        let read = std::pin::pin!(read(&shared, &flow, &unheard, reader));
        let mut write = std::pin::pin!(write(&shared, &unheard, writer, &mut queue));
        tokio::select! {
            end = read => match end {
                End::Broken(why) => why,
                End::Unreadable => {
                    shared.flows.remove(flow.id);
                    // It has a deadline for each write; the queue gets no longer now.
                    write.await
                }
            },
            why = &mut write => why,
        }
    };
    tracing::debug!(flow = flow.id.0, remote = %flow.remote, why, "flow closed");
    for client in unheard.take() {
        shared.fail(Some(client), || format!("{} closed before an answer: {why}", flow.remote));
    }
    shared.close(&flow, queue, &why).await;
}

/// Requests that went out on a connection from which nothing has come yet. With TLS 1.3 a far side
/// refuses our certificate after we have begun to send: these requests reached nobody.
struct Unheard {
    clients: Mutex<Option<Vec<ClientId>>>,
}

impl Unheard {
    fn new(role: Role) -> Self {
        Self { clients: Mutex::new((role == Role::Opened).then(Vec::new)) }
    }

    fn sent(&self, client: Option<ClientId>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(clients), Some(client)) = (clients.as_mut(), client)
            && clients.len() < UNHEARD_MAX
        {
            clients.push(client);
        }
    }

    fn take(&self) -> Vec<ClientId> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

async fn read<S: AsyncRead>(
    shared: &Shared,
    flow: &Flow,
    unheard: &Unheard,
    mut reader: ReadHalf<S>,
) -> End {
    let mut framer = Framer::new();
    let mut patience = Patience::default();
    let mut buffer = vec![0; READ_OCTETS];
    loop {
        let due = patience.due(clock::now().mono, framer.buffered()).into();
        let len = match tokio::time::timeout_at(due, reader.read(&mut buffer)).await {
            Ok(Ok(0)) => return End::Broken("closed by the far side".to_owned()),
            Ok(Ok(len)) => len,
            Ok(Err(error)) => return End::Broken(error.to_string()),
            Err(_) if patience.begun.is_some() => {
                tracing::warn!(flow = flow.id.0, remote = %flow.remote, "message never became whole");
                discarded("slow");
                return End::Broken("a message never became whole".to_owned());
            }
            Err(_) => return End::Broken("idle".to_owned()),
        };
        // From now on an answer that is missing is the far side's doing.
        let _ = unheard.take();
        if let Err(error) = framer.push(&buffer[..len]) {
            return End::Broken(error.to_string());
        }
        for framed in framer.by_ref() {
            match framed {
                Framed::Message(bytes) => {
                    patience.whole();
                    if let Err(end) = hand_in(shared, flow, bytes).await {
                        return end;
                    }
                }
                Framed::Ping => answer(shared, flow, Bytes::from_static(b"\r\n")),
                Framed::Pong => {}
                Framed::Lost(error) => {
                    tracing::warn!(flow = flow.id.0, remote = %flow.remote, %error, "stream is out of step");
                    discarded("framing");
                    answer_error(shared, flow, error);
                    return End::Unreadable;
                }
            }
        }
    }
}

/// How long a far side may keep us waiting.
#[derive(Default)]
struct Patience {
    /// When the message began that is not whole yet.
    begun: Option<Instant>,
}

impl Patience {
    /// A message has become whole: what is left in the buffer is another's beginning.
    fn whole(&mut self) {
        self.begun = None;
    }

    /// Until when something has to come, if so many octets wait for the rest of their message.
    fn due(&mut self, now: Instant, buffered: usize) -> Instant {
        match buffered {
            0 => {
                self.begun = None;
                now + IDLE_TIMEOUT
            }
            // More octets of the same message buy no more time.
            _ => *self.begun.get_or_insert(now) + MESSAGE_TIMEOUT,
        }
    }
}

/// Hands one message in; waits where the core is behind, so that the far side is slowed down.
async fn hand_in(shared: &Shared, flow: &Flow, bytes: Bytes) -> Result<(), End> {
    let mut message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(error) => {
            tracing::debug!(flow = flow.id.0, remote = %flow.remote, %error, "message is malformed");
            discarded("malformed");
            answer_error(shared, flow, error);
            return Ok(());
        }
    };
    via::note_source(&mut message, flow.remote);
    if !shared.flows.hands_in(flow.id, &message) {
        return Err(End::Unreadable);
    }
    let lane = shared.core.lane(&message);
    let event = Event::Message { flow: flow.clone(), message, at: clock::now().mono };
    lane.send(event).await.map_err(|_| End::Broken("shutting down".to_owned()))
}

fn answer_error(shared: &Shared, flow: &Flow, error: ParseError) {
    if let Some(response) = error.response {
        answer(shared, flow, Message::Response(*response).to_bytes());
    }
}

fn answer(shared: &Shared, flow: &Flow, bytes: Bytes) {
    let outgoing = Outgoing { bytes, client: None, otherwise: None };
    // A far side that does not read gets no answers either.
    if shared.flows.queue(flow.id, outgoing).is_err() {
        discarded("send_buffer");
    }
}

async fn write<S: AsyncWrite>(
    shared: &Arc<Shared>,
    unheard: &Unheard,
    mut writer: WriteHalf<S>,
    queue: &mut mpsc::Receiver<Outgoing>,
) -> String {
    let mut lot = Vec::with_capacity(TOGETHER_MAX);
    let mut octets = BytesMut::new();
    while queue.recv_many(&mut lot, TOGETHER_MAX).await > 0 {
        let whole = match &lot[..] {
            [one] => &one.bytes[..],
            _ => {
                octets.clear();
                lot.iter().for_each(|outgoing| octets.extend_from_slice(&outgoing.bytes));
                &octets[..]
            }
        };
        let written = async {
            writer.write_all(whole).await?;
            writer.flush().await
        };
        let why = match tokio::time::timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {
                lot.drain(..).for_each(|outgoing| unheard.sent(outgoing.client));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the far side takes nothing".to_owned(),
        };
        lot.into_iter().for_each(|outgoing| shared.elsewhere(outgoing, &why));
        return why;
    }
    // Says goodbye in TLS; a far side that is gone cannot hear it.
    let _ = tokio::time::timeout(WRITE_TIMEOUT, writer.shutdown()).await;
    "closed by us".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TDR-CON-002.
    #[test]
    fn a_connection_that_is_quiet_for_five_minutes_is_kept() {
        let begun = clock::now().mono;
        assert!(Patience::default().due(begun, 0) >= begun + Duration::from_secs(300));
    }

    #[test]
    fn a_message_that_comes_octet_by_octet_gets_no_more_time_for_it() {
        let begun = clock::now().mono;
        let mut patience = Patience::default();
        assert_eq!(patience.due(begun, 0), begun + IDLE_TIMEOUT);
        for second in 0..10 {
            let now = begun + Duration::from_secs(second);
            assert_eq!(patience.due(now, 100 + second as usize), begun + MESSAGE_TIMEOUT);
        }
        // It is whole, and so is the next one, with a beginning of a third behind each.
        for second in [9, 18] {
            patience.whole();
            let later = begun + Duration::from_secs(second);
            assert_eq!(patience.due(later, 1), later + MESSAGE_TIMEOUT);
        }
    }
}
