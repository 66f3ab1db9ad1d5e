//! Who is spoken to beside calls: hooks before them, companions after. A landscape has them with
//! how each is reached, and one that is as it was in the one before is the very same.

use super::secure::Towards;
use crate::config::companion::Companion;
use crate::config::hook::{Hook, HookKind};
use crate::config::tls::ServiceTls;
use std::sync::Arc;

/// What the settings say of one.
pub trait Spoken: Clone + PartialEq {
    /// What it is, for the operator.
    fn what(&self) -> String;
    /// How it is reached over TLS; `None` is plain.
    fn tls(&self) -> Option<&ServiceTls>;
    /// How it is spoken to.
    fn kind(&self) -> HookKind;
}

impl Spoken for Companion {
    fn what(&self) -> String {
        format!("companion `{}`", self.id)
    }

    fn tls(&self) -> Option<&ServiceTls> {
        self.tls.as_ref()
    }

    fn kind(&self) -> HookKind {
        self.kind
    }
}

impl Spoken for Hook {
    fn what(&self) -> String {
        format!("hook `{}`", self.id)
    }

    fn tls(&self) -> Option<&ServiceTls> {
        self.tls.as_ref()
    }

    fn kind(&self) -> HookKind {
        self.kind
    }
}

/// One of them.
pub struct Partner<T> {
    /// As the settings say.
    pub own: T,
    /// How it is reached over TLS; `None` is plain.
    pub towards: Option<Arc<Towards>>,
}

/// All of them, in the order of the settings.
pub struct Partners<T>(Vec<Arc<Partner<T>>>);

impl<T> Default for Partners<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Spoken> Partners<T> {
    /// Those of other settings. Reads files, so not for a worker.
    ///
    /// # Errors
    /// The place of the first that cannot be reached, and why.
    pub fn followed_by(self: &Arc<Self>, all: &[T]) -> Result<Arc<Self>, (usize, String)> {
        if self.0.iter().map(|known| &known.own).eq(all) {
            return Ok(Arc::clone(self));
        }
        let known = |(place, own): (usize, &T)| {
            if let Some(same) = self.0.iter().find(|known| known.own == *own) {
                return Ok(Arc::clone(same));
            }
            let read = |tls| Towards::read(own.what(), tls, own.kind() == HookKind::Grpc);
            let towards = own.tls().map(read).transpose().map_err(|why| (place, why))?;
            Ok(Arc::new(Partner { own: own.clone(), towards }))
        };
        let all = all.iter().enumerate().map(known);
        all.collect::<Result<_, _>>().map(|all| Arc::new(Self(all)))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Partner<T>>> {
        self.0.iter()
    }

    /// How those are reached that are reached over TLS.
    pub(super) fn towards(&self) -> impl Iterator<Item = &Arc<Towards>> {
        self.0.iter().filter_map(|known| known.towards.as_ref())
    }
}
