//! The DTLS associations of one leg: those in force, and those that may come back.

use crate::Component;
use crate::dtls::Association;
use sdp::Dtls;

/// Associations of a component that are not in force and may come back: forks of one INVITE, mostly.
const KEPT_MAX: usize = 4;

/// One association for each component; with rtcp-mux there is one.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    in_force: [Option<Box<Association>>; 2],
    /// Those that have made keys: who was there before, until another fork or a target that only rings
    /// was heard, does not shake hands again.
    kept: Option<Box<[Vec<Association>; 2]>>,
}

impl Handshakes {
    /// Goes on with what was agreed before, or begins.
    pub(crate) fn agree(&mut self, agreed: Option<&Dtls>, rtcp_mux: bool) {
        for component in [Component::Rtp, Component::Rtcp] {
            let wanted = component == Component::Rtp || !rtcp_mux;
            self.agree_for(component, agreed.filter(|_| wanted));
        }
    }

    fn agree_for(&mut self, component: Component, agreed: Option<&Dtls>) {
        let place = &mut self.in_force[component as usize];
        if place.is_none() && agreed.is_none() {
            return;
        }
        let kept = &mut self.kept.get_or_insert_default()[component as usize];
        if let (Some(known), Some(agreed)) = (&mut *place, agreed)
            && known.is_of(agreed)
        {
            known.agreed_again();
            return;
        }
        let next = agreed.map(|agreed| {
            let back = kept.iter().position(|kept| kept.is_of(agreed)).map(|at| kept.remove(at));
            Box::new(back.unwrap_or_else(|| Association::new(agreed.clone())))
        });
        let before = std::mem::replace(place, next).filter(|before| before.keys().is_some());
        kept.extend(before.map(|before| *before));
        if kept.len() > KEPT_MAX {
            kept.remove(0);
        }
    }

    /// The call is answered: a far side that is only there now has its time anew.
    pub(crate) fn answered(&mut self) {
        self.in_force.iter_mut().flatten().for_each(|association| association.answered());
    }

    /// That of a component.
    pub(crate) fn of(&self, component: Component) -> Option<&Association> {
        self.in_force[component as usize].as_deref()
    }

    /// The same, to go on with it.
    pub(crate) fn of_mut(&mut self, component: Component) -> Option<&mut Association> {
        self.in_force[component as usize].as_deref_mut()
    }
}
