//! Who shows which integer key (rule P4), worked out only for the rows whose ids hang on one another.
//!
//! A row that claims an id pulls in the row that shows it, all that claim it, and those that would derive it; the ids
//! these show are looked at in turn until nothing new comes up. Mostly two rows claim one id and no third is touched:
//! then the others that claim it stay where they are, however many they are.

use super::{Found, Key, Merge, Refusal, Rows, Standing, is_literal};
use crate::body::Cell;
use crate::cellhash::CellHash;
use crate::claim::{self, Claim};
use crate::name::Name;
use crate::record::Record;
use crate::row::RowState;
use crate::value::Value;
use std::collections::BTreeSet;

/// One row whose id is being decided.
pub(super) struct Member {
    /// The id it shows; none while it is not in the table.
    pub(super) key: Option<i64>,
    pub(super) record: Record,
    /// Its merged state, once known to change.
    pub(super) state: Option<RowState>,
    pub(super) claim: Claim,
}

pub(super) fn id_claim(record: &Record, state: &RowState, column: usize) -> Claim {
    let cell = state.cell(column);
    let id = cell.and_then(|w| if let Value::Integer(id) = w.value { Some(*id) } else { None });
    Claim { stamp: cell.map_or(record.born, |w| w.claim), name: record.born.dot(), id: id.unwrap_or_default() }
}

impl<R: Rows> Merge<'_, R> {
    /// An id came free: the earliest row that claims it gets it, or one that would derive it.
    pub(super) fn take_back(&mut self, id: i64) -> Result<(), R::Error> {
        let mut waiting = self.rows.claimants(id)?;
        if waiting.is_empty() {
            waiting = self.rows.probers(id)?;
        }
        let Some(shown) = waiting.first().copied() else { return Ok(()) };
        match self.member(shown)? {
            Some(member) => self.place(member),
            None => Ok(()),
        }
    }

    /// The same for ids that came free while rows were parked.
    ///
    /// # Errors
    /// As [`Rows`].
    pub fn take_back_all(&mut self, freed: impl IntoIterator<Item = i64>) -> Result<(), R::Error> {
        freed.into_iter().try_for_each(|id| self.take_back(id))
    }

    fn member(&mut self, shown: i64) -> Result<Option<Member>, R::Error> {
        let Some(record) = self.rows.record(&Key::Id(shown))?.filter(|r| !r.is_hidden) else { return Ok(None) };
        let column = self.table.id_column.unwrap_or_default();
        let claim = match &record.state {
            Some(state) => id_claim(&record, state, column),
            None => Claim { stamp: record.stamp(column), name: record.born.dot(), id: shown },
        };
        Ok(Some(Member { key: Some(shown), record, state: None, claim }))
    }

    /// Gives ids to `first` and to all rows whose ids hang on it.
    ///
    /// A new row that claims an id beside others costs the same however many they are, where its derived id is free: the
    /// earliest of the others holds the id, and only these two change.
    ///
    /// The digest must hold nothing of a `first` that has a state of its own (its share was taken off, or it is new);
    /// a member that has a key and no state is as stored.
    pub(super) fn place(&mut self, first: Member) -> Result<(), R::Error> {
        let id = first.claim.id;
        if first.key.is_none()
            && let Some(holder) = self.member(id)?.filter(|holder| holder.claim.id == id)
        {
            let is_late = holder.claim < first.claim;
            let loser = if is_late { &first } else { &holder };
            let derived = claim::derived_id(&loser.claim.name, 0);
            if self.is_free(derived)? {
                return match is_late {
                    true => self.move_members(vec![first], &[Some(derived)]),
                    false => self.move_members(vec![first, holder], &[Some(id), Some(derived)]),
                };
            }
        }
        self.place_all(first)
    }

    /// Is that id shown by no row, and asked for by none? Then a row that takes it touches no other.
    fn is_free(&mut self, id: i64) -> Result<bool, R::Error> {
        Ok(self.rows.record(&Key::Id(id))?.is_none()
            && self.rows.claimants(id)?.is_empty()
            && self.rows.probers(id)?.is_empty())
    }

    fn place_all(&mut self, first: Member) -> Result<(), R::Error> {
        let mut members = vec![first];
        let mut visited = BTreeSet::new();
        let shown = loop {
            let claims: Vec<_> = members.iter().map(|m| m.claim).collect();
            let shown = claim::assign(&claims);
            let ids: BTreeSet<i64> = members
                .iter()
                .flat_map(|m| [Some(m.claim.id), m.key])
                .chain(shown.iter().copied())
                .flatten()
                .filter(|id| !visited.contains(id))
                .collect();
            if ids.is_empty() {
                break shown;
            }
            for id in ids {
                visited.insert(id);
                let others = self.rows.claimants(id)?.into_iter().chain(self.rows.probers(id)?);
                for other in others.chain([id]).collect::<Vec<_>>() {
                    if members.iter().all(|m| m.key != Some(other))
                        && let Some(member) = self.member(other)?
                    {
                        members.push(member);
                    }
                }
            }
        };
        self.move_members(members, &shown)
    }

    fn move_members(&mut self, mut members: Vec<Member>, shown: &[Option<i64>]) -> Result<(), R::Error> {
        for (member, shown) in members.iter_mut().zip(shown) {
            let Some(key) = member.key else { continue };
            if member.state.is_none() {
                if *shown == Some(key) {
                    continue;
                }
                let old = self.row_digest(&Key::Id(key), &member.record);
                self.rows.digest(0, old);
                let name = self.name_of(&Key::Id(key), &member.record);
                let found = Found { key: Key::Id(key), name, record: member.record.clone() };
                member.state = Some(self.expand(&found)?);
            }
            let birth = member.record.birth_id.unwrap_or(key);
            member.record.birth_id = Some(birth);
            if *shown != Some(key) {
                let name = Name::Born { dot: member.record.born.dot(), id: birth };
                self.rows.note_standing(&name, Standing::Shown(Key::Id(key)));
            }
        }
        // Only now: a row may refer to another of them, and its state is told by the records as they are.
        for member in members.iter().filter(|m| m.state.is_some()) {
            let Some(id) = member.key else { continue };
            let key = Key::Id(id);
            self.rows.forget(&key)?;
            self.rows.set_claim(id, None)?;
            self.forget_refs(&key, &self.name_of(&key, &member.record))?;
        }
        let moves = members.iter().zip(shown).filter_map(|(m, to)| Some((m.key?, (*to)?)));
        let moves: Vec<_> = moves.filter(|(a, b)| a != b).collect();
        if !moves.is_empty() {
            self.rows.renumber(&moves)?;
        }
        for (member, shown) in members.iter().zip(shown).filter(|(m, _)| m.key.is_some()) {
            if let (Some(state), Some(id)) = (&member.state, shown) {
                self.announce(&member.record, state, *id)?;
            }
        }
        // Rows that were there before come first: a new one may be refused for their sake, not they for its.
        let (old, new): (Vec<_>, Vec<_>) = members.into_iter().zip(shown).partition(|(m, _)| m.key.is_some());
        let mut freed = Vec::new();
        for (member, shown) in old.into_iter().chain(new) {
            freed.extend(self.keep_member(member, *shown)?);
        }
        self.take_back_all(freed)
    }

    /// Lets references to a row find it under its new id while it is being shown: it may refer to itself, or to another
    /// row that moves with it.
    fn announce(&mut self, record: &Record, state: &RowState, id: i64) -> Result<(), R::Error> {
        if self.table.refs.is_empty() {
            return Ok(());
        }
        let (mut record, dot) = (record.clone(), record.born.dot());
        let birth = record.birth_id.unwrap_or(id);
        (record.is_hidden, record.state) = (false, Some(Box::new(state.clone())));
        self.rows.set_moved(&dot, (id != birth).then_some(id))?;
        self.rows.put(&Key::Id(id), &record)
    }

    /// Gives the id that the row was to show and does not, since the table refuses it: others may claim that.
    fn keep_member(&mut self, member: Member, shown: Option<i64>) -> Result<Option<i64>, R::Error> {
        let Member { key, mut record, state: Some(state), claim } = member else { return Ok(None) };
        let birth = record.birth_id.unwrap_or(claim.id);
        let name = Name::Born { dot: record.born.dot(), id: birth };
        let id = shown.unwrap_or(claim.id);
        record.birth_id = (id != birth).then_some(birth);
        let mut found = Found { key: Key::Id(id), name, record };
        if key.is_none() && shown.is_some() {
            self.announce(&found.record, &state, id)?;
        }
        // A plain value that looked like the id of a row that moved went with the references to it.
        for column in
            self.table.refs.iter().filter(|c| state.cell(**c).is_some_and(|w| is_literal(&Cell::from(w.value))))
        {
            if let Some(hash) = found.record.hashes.get_mut(*column) {
                *hash = CellHash::default();
            }
        }
        let refusal = match shown {
            Some(_) => self.show_cells(&mut found, &state)?,
            None => Some(Refusal::constraint("no derived id is free")),
        };
        if let (Some(refusal), true) = (&refusal, found.record.is_hidden) {
            self.rows.note_standing(&found.name, Standing::Nowhere);
            self.rows.forget(&found.key)?;
            self.keep_hidden(found, state, refusal)?;
            return Ok(shown);
        }
        if id != claim.id {
            self.rows.set_claim(id, Some(claim.id))?;
            if id != claim::derived_id(&claim.name, 0) {
                self.rows.set_prober(id)?;
            }
        }
        self.rows.set_moved(&claim.name, (id != birth).then_some(id))?;
        self.stick(&found, refusal.as_ref())?;
        found.record = self.fit_record(found.record, &found.key, state);
        self.keep(&found, 0)?;
        Ok(None)
    }
}
