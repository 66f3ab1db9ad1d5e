//! A list that shares what has not changed with the list it was made from: it stands on boards, and
//! only a board of which something changes is made anew. So the next landscape of 100 000 services
//! costs some hundred boards' counts and not a hundred thousand copies.

use std::sync::Arc;

/// Items of a board: copying one and counting all of 100 000 items cost about as much.
const BOARD: usize = 128;

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct Shelf<T> {
    boards: Vec<Arc<[T]>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { boards: Vec::new() }
    }
}

impl<T> Shelf<T> {
    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        let last = self.boards.last().map_or(0, |board| board.len());
        self.boards.len().saturating_sub(1) * BOARD + last
    }

    /// The item at a place.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.boards.get(at / BOARD)?.get(at % BOARD)
    }

    /// All items, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.boards.iter().flat_map(|board| board.iter())
    }
}

impl<T: Clone> Shelf<T> {
    /// Takes away the last item.
    pub(crate) fn pop(&mut self) {
        let Some(board) = self.boards.pop() else { return };
        if let Some((_, rest)) = board.split_last().filter(|(_, rest)| !rest.is_empty()) {
            self.boards.push(rest.into());
        }
    }

    /// Puts an item at a place, whose board alone is copied; the place behind the last is a new
    /// one. False where the list is shorter.
    pub(crate) fn put(&mut self, at: usize, item: T) -> bool {
        if at == self.len() {
            let board = match self.boards.pop_if(|board| board.len() < BOARD) {
                Some(board) => board.iter().cloned().chain([item]).collect(),
                None => [item].into(),
            };
            self.boards.push(board);
            return true;
        }
        let board = self.boards.get_mut(at / BOARD);
        let slot = board.and_then(|board| Arc::make_mut(board).get_mut(at % BOARD));
        slot.map(|slot| *slot = item).is_some()
    }
}

impl<T: Clone> FromIterator<T> for Shelf<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let items: Vec<T> = items.into_iter().collect();
        Self { boards: items.chunks(BOARD).map(Arc::from).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_is_a_list_and_what_is_put_into_a_copy_shows_there_alone() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut plain: Vec<u32> = (0..300).collect();
        let mut shelf: Shelf<u32> = plain.iter().copied().collect();
        for _ in 0..2000 {
            let before = (shelf.clone(), plain.clone());
            let at = rng.usize(..=plain.len());
            let item = rng.u32(..);
            assert!(shelf.put(at, item));
            match plain.get_mut(at) {
                Some(slot) => *slot = item,
                None => plain.push(item),
            }
            assert_eq!(shelf.get(at), Some(&item));
            for _ in 0..rng.usize(..2) {
                shelf.pop();
                plain.pop();
            }
            assert!(before.0.iter().eq(&before.1));
        }
        assert!(shelf.iter().eq(&plain));
        assert_eq!((shelf.len(), shelf.get(plain.len())), (plain.len(), None));
        assert!(!shelf.put(plain.len() + 1, 0));
        let empty = Shelf::<u32>::default();
        assert_eq!((empty.len(), empty.get(0)), (0, None));
    }
}
