//! The order of endpoints: priorities strictly, weights by share.

use super::super::{ENDPOINTS_MAX, Located, Service};
use super::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::collections::HashMap;

fn service(priority: u16, weight: u16, last: u8) -> Service {
    let address = SocketAddr::from(([192, 0, 2, last], 5060));
    Service { priority, weight, addresses: vec![address] }
}

/// How often each address comes first in so many draws.
fn firsts(located: &Located, draws: u32) -> HashMap<SocketAddr, u32> {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let mut firsts = HashMap::new();
    for _ in 0..draws {
        *firsts.entry(located.draw(&mut rng)[0]).or_default() += 1;
    }
    firsts
}

#[test]
fn calls_spread_by_weight() {
    let located = Located::new([service(10, 60, 1), service(10, 30, 2), service(10, 10, 3)]);
    let firsts = firsts(&located, 20_000);
    for (last, share) in [(1, 0.6), (2, 0.3), (3, 0.1)] {
        let got = f64::from(firsts[&SocketAddr::from(([192, 0, 2, last], 5060))]) / 20_000.0;
        // The number is drawn from 0 to 100, both included, and 20,000 draws have a deviation of
        // 0.0035.
        assert!((got - share).abs() < 0.015, "{last} came first in {got} of the draws");
    }
}

#[test]
fn the_second_in_the_order_is_drawn_by_weight_too() {
    let located = Located::new([service(1, 50, 1), service(1, 45, 2), service(1, 5, 3)]);
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let (mut first_is_one, mut then_two) = (0.0, 0.0);
    for _ in 0..20_000 {
        let order = located.draw(&mut rng);
        if order[0] == at("192.0.2.1:5060") {
            first_is_one += 1.0;
            then_two += f64::from(u8::from(order[1] == at("192.0.2.2:5060")));
        }
    }
    let share: f64 = then_two / first_is_one;
    assert!((share - 0.9).abs() < 0.025, "{share}");
}

#[test]
fn equal_weights_share_alike_and_weight_0_hardly_gets_anything() {
    let located = Located::new([service(1, 0, 1), service(1, 100, 2), service(1, 100, 3)]);
    let firsts = firsts(&located, 20_000);
    let of = |last| firsts.get(&SocketAddr::from(([192, 0, 2, last], 5060))).copied().unwrap_or(0);
    // RFC 2782: "a very small chance": 1 of 201.
    assert!((60..=150).contains(&of(1)), "{}", of(1));
    assert!(of(2).abs_diff(of(3)) < 600);
}

#[test]
fn a_higher_priority_never_comes_before_a_lower_one() {
    let services = [service(20, 65_535, 4), service(10, 0, 1), service(10, 1, 2), service(5, 0, 9)];
    let located = Located::new(services);
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    for _ in 0..1_000 {
        let order = located.draw(&mut rng);
        assert_eq!(order.len(), 4);
        assert_eq!((order[0], order[3]), (at("192.0.2.9:5060"), at("192.0.2.4:5060")));
    }
}

#[test]
fn the_same_seed_draws_the_same_order() {
    let located = Located::new((1..=20).map(|last| service(1, u16::from(last), last)));
    let draw = || located.draw(&mut ChaCha20Rng::seed_from_u64(42));
    assert_eq!(draw(), draw());
}

#[test]
fn an_endpoint_that_two_records_name_is_tried_once() {
    let located = Located::new([service(1, 5, 1), service(1, 5, 1), service(2, 5, 1)]);
    assert_eq!(located.draw(&mut ChaCha20Rng::seed_from_u64(1)).len(), 1);
}

#[test]
fn a_name_with_thousands_of_endpoints_is_cut() {
    let host = |priority: u16| Service {
        priority,
        weight: 1,
        addresses: (1..=200).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect(),
    };
    let located = Located::new([host(9), host(1)]);
    assert_eq!(located.endpoints().count(), ENDPOINTS_MAX);
    assert_eq!(located.endpoints().next(), Some(at("192.0.2.1:1")));
}

#[test]
fn a_fixed_name_has_the_port_of_its_transport_and_the_addresses_of_its_listener() {
    let to: Vec<IpAddr> = ["2001:db8::1", "192.0.2.1"].map(|it| it.parse().unwrap()).to_vec();
    let mut sought = by_service(Transport::Tls);
    let v4: Vec<SocketAddr> = Located::fixed(&sought, &to).endpoints().collect();
    assert_eq!(v4, [at("192.0.2.1:5061")]);
    sought.family = Family::V6;
    sought.port = Some(5070);
    let v6: Vec<SocketAddr> = Located::fixed(&sought, &to).endpoints().collect();
    assert_eq!(v6, [at("[2001:db8::1]:5070")]);
}
