use super::*;

fn ticket() -> Ticket {
    let addresses = vec!["/ip4/192.0.2.7/tcp/4001".to_owned(), "/dns4/shop.example/tcp/4001".to_owned()];
    Ticket { group: GroupId([7; 16]), secret: Secret([9; 32]), epoch: 3, addresses }
}

#[test]
fn a_ticket_survives_copying_in_any_case_and_with_space_around() {
    let text = ticket().to_string();
    assert!(text.starts_with(PREFIX));
    assert_eq!(Ticket::parse(&text).unwrap(), ticket());
    assert_eq!(Ticket::parse(&format!(" {}\n", text.to_uppercase())).unwrap(), ticket());
}

#[test]
fn a_slip_of_the_pen_is_told() {
    let text = ticket().to_string();
    for at in PREFIX.len()..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'4' { b'5' } else { b'4' };
        let slipped = String::from_utf8(bytes).unwrap();
        if slipped != text {
            assert!(Ticket::parse(&slipped).is_err(), "position {at}");
        }
    }
    assert_eq!(Ticket::parse("hello"), Err(TicketError::Prefix));
    assert_eq!(Ticket::parse("p2pdb1 x"), Err(TicketError::Letters));
    assert_eq!(Ticket::parse("p2pdb1"), Err(TicketError::Check));
    assert_eq!(Ticket::parse("påpdb1"), Err(TicketError::Prefix));
}

/// Most lengths are none that base 32 has: the decoder's complaint about that read as one about a letter.
#[test]
fn a_ticket_cut_short_is_said_to_be_cut_short_wherever_the_cut_is() {
    let text = ticket().to_string();
    for at in PREFIX.len()..text.len() {
        assert_eq!(Ticket::parse(&text[..at]), Err(TicketError::Check), "cut at {at}");
        let wrong = format!("{}u{}", &text[..at], &text[at..]);
        assert_eq!(Ticket::parse(&wrong), Err(TicketError::Letters), "a letter at {at}");
    }
}

#[test]
fn a_field_from_the_future_is_skipped() {
    let mut body = vec![0];
    body.raw(&[7; 16]);
    body.raw(&[9; 32]);
    body.u32(3);
    body.uvarint(99);
    body.bytes(b"something new");
    assert_eq!(Ticket::read(&body).unwrap().addresses, Vec::<String>::new());
}
