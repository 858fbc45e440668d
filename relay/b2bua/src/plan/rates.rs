//! `[[rates]]`: a table of prices, and which trunks of this plan its rows speak of.

use crate::routing::{Offer, RateTable};
use std::sync::Arc;

/// One `[[rates]]`.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Its name.
    pub name: String,
    /// Its rows, which snapshots share for as long as the file stays as it is.
    pub table: Arc<RateTable>,
    /// The trunks that the table names, by its order, in this plan.
    pub trunks: Vec<usize>,
}

impl Rates {
    /// What each trunk of the plan asks for `number`, the cheapest first.
    pub fn offers(&self, number: &str) -> Vec<Offer> {
        let mut offers = self.table.offers(number);
        offers.retain_mut(|offer| match self.trunks.get(offer.trunk) {
            Some(trunk) => {
                offer.trunk = *trunk;
                true
            }
            None => false,
        });
        offers
    }
}
