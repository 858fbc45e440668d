//! The call everybody expects, from Teams.

use callflow::script::{hang_up, teams_calls_carrier};
use callflow::{Who, World, secs};

#[test]
fn teams_calls_the_carrier_and_hangs_up() {
    let mut world = World::new(1);
    let (mut anna, subscriber) = teams_calls_carrier(&mut world);
    world.run_for(secs(60));
    hang_up(&mut world, &mut anna, &subscriber);
    world.run_for(secs(1));
    let record = &world.records[0];
    assert_eq!((record.status, record.cause.as_str()), (200, "caller_hangup"));
    assert_eq!(record.talk.as_secs(), 60);
    assert_eq!(world.sent_to(Who::Bt, "INVITE"), 0);
}
