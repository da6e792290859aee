use super::*;
use crate::clock::Clock;
use crate::id::{AuthorId, Seq};

const TABLE: TableId = TableId([7; 8]);

fn at(clock: u64) -> Stamp {
    Stamp { clock: Clock(clock), author: AuthorId([1; 16]), seq: Seq(1), op: 0 }
}

/// Rows named by a key, with the columns (key, text, number) and the claim of both.
fn row(key: &str, text: &str, number: i64, claim: u64) -> Row {
    let text = if text.is_empty() { Value::Null } else { Value::Text(text.into()) };
    let values = vec![Value::Text(key.into()), text, Value::Integer(number)];
    Row { name: Name::Key(key.as_bytes().into()), values, claims: vec![at(0), at(claim), at(claim)] }
}

fn on(columns: &[usize], repair: Option<usize>, nullable: Option<usize>) -> Index {
    Index { columns: columns.to_vec(), repair, nullable }
}

/// A table that has no other rows and refuses nothing.
struct Alone<'a>(&'a [Index]);

impl Table for Alone<'_> {
    type Error = ();

    fn tuple(&mut self, index: usize, values: &[Value]) -> Result<Option<Tuple>, ()> {
        Ok(tuple(self.0[index].columns.iter().map(|c| (&values[*c], Collation::Binary))))
    }

    fn is_taken(&mut self, _: usize, _: &Tuple, _: &[Value]) -> Result<bool, ()> {
        Ok(false)
    }

    fn is_refused(&self, _: &Name, _: usize, _: &Value) -> bool {
        false
    }
}

fn placed(indexes: &[Index], rows: &[Row]) -> Vec<Place> {
    let ids = [ColumnId([1; 4]), ColumnId([2; 4]), ColumnId([3; 4])];
    let columns = Columns { table: TABLE, ids: &ids };
    assign(columns, indexes, rows, &mut Alone(indexes)).unwrap()
}

#[test]
fn the_earliest_claim_keeps_and_later_ones_show_derived_values() {
    let rows =
        [row("a", "x", 1, 20), row("b", "x", 2, 10), row("c", "x", 3, 30), row("d", "y", 4, 5), row("e", "", 5, 1)];
    let places = placed(&[on(&[1], Some(1), None)], &rows);
    let shown: Vec<_> = places.iter().map(|p| p.repairs.get(&1).cloned()).collect();
    assert_eq!((&shown[1], &shown[3], &shown[4]), (&None, &None, &None));
    for at in [0, 2] {
        let Some(Value::Text(text)) = &shown[at] else { panic!("{shown:?}") };
        assert!(text.starts_with(b"x~") && text.len() == 6, "{text:?}");
    }
    assert_ne!(shown[0], shown[2]);
}

#[test]
fn the_answer_does_not_depend_on_the_order_of_the_rows() {
    let rows = [row("a", "x", 1, 20), row("b", "x", 1, 10), row("c", "x", 2, 30), row("d", "y", 1, 5)];
    let indexes = [on(&[1], Some(1), None), on(&[2], Some(2), None), on(&[1, 2], Some(1), None)];
    let places = placed(&indexes, &rows);
    let mut reversed: Vec<Row> = rows.to_vec();
    reversed.reverse();
    let mut other = placed(&indexes, &reversed);
    other.reverse();
    assert_eq!(places, other);
}

#[test]
fn a_derived_value_that_somebody_wrote_is_passed_by() {
    let taken =
        derived_value(&Value::Text("x".into()), &derived(TABLE, ColumnId([2; 4]), &Name::Key((*b"b").into()), 0), 0);
    let Value::Text(text) = &taken else { panic!() };
    let text = String::from_utf8(text.clone()).unwrap();
    let rows = [row("a", "x", 1, 10), row("b", "x", 2, 20), row("c", &text, 3, 30)];
    let places = placed(&[on(&[1], Some(1), None)], &rows);
    assert_ne!(places[1].repairs.get(&1), Some(&taken));
    assert_eq!(places[1].missed.len(), 1, "it would rather show the first");
    assert_eq!(places[2], Place::default());
}

#[test]
fn where_no_value_can_be_derived_it_is_null_or_not_shown() {
    let rows = [row("a", "x", 1, 10), row("b", "x", 2, 20)];
    let places = placed(&[on(&[1], None, Some(1))], &rows);
    assert_eq!(places[1].repairs, BTreeMap::from([(1, Value::Null)]));
    let places = placed(&[on(&[1], None, None)], &rows);
    assert_eq!((places[0].hidden_by, places[1].hidden_by), (None, Some(0)));
}

#[test]
fn a_row_that_is_not_shown_claims_nothing_elsewhere() {
    // b is later than a on the text, and earlier than c on the number.
    let rows = [row("a", "x", 1, 10), row("b", "x", 2, 20), row("c", "y", 2, 30)];
    let places = placed(&[on(&[1], None, None), on(&[2], Some(2), None)], &rows);
    assert_eq!(places[1].hidden_by, Some(0));
    assert_eq!(places[2], Place::default());
}
