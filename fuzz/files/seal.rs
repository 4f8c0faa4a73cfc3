//! The checksums of a write-ahead log and of a rollback journal, made right after an edit: SQLite looks
//! no further than to the first wrong one.

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// Salts of our own, so that the same input is the same file.
pub(super) fn salt_log(log: &mut [u8]) {
    if let Some(salts) = log.get_mut(16..24) {
        salts.copy_from_slice(b"saltsalt");
    }
    seal_log(log);
}

/// Makes every frame one of this log: its salts and its checksums.
pub(super) fn seal_log(log: &mut [u8]) {
    let Some((header, mut rest)) = log.split_at_mut_checked(LOG_HEADER) else {
        return;
    };
    let is_big = header[3] & 1 == 1;
    let page = number(&header[8..]) as usize;
    let mut sums = checksum(&header[..24], [0, 0], is_big);
    header[24..28].copy_from_slice(&sums[0].to_be_bytes());
    header[28..].copy_from_slice(&sums[1].to_be_bytes());
    if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return;
    }
    while let Some((frame, others)) = rest.split_at_mut_checked(FRAME_HEADER + page) {
        frame[8..16].copy_from_slice(&header[16..24]);
        sums = checksum(&frame[..8], sums, is_big);
        sums = checksum(&frame[FRAME_HEADER..], sums, is_big);
        frame[16..20].copy_from_slice(&sums[0].to_be_bytes());
        frame[20..24].copy_from_slice(&sums[1].to_be_bytes());
        rest = others;
    }
}

fn checksum(bytes: &[u8], [mut a, mut b]: [u32; 2], is_big: bool) -> [u32; 2] {
    for pair in bytes.as_chunks::<8>().0 {
        let word = |at: usize| {
            let word = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            if is_big {
                u32::from_be_bytes(word)
            } else {
                u32::from_le_bytes(word)
            }
        };
        a = a.wrapping_add(word(0)).wrapping_add(b);
        b = b.wrapping_add(word(4)).wrapping_add(a);
    }
    [a, b]
}

/// A nonce of our own; see [`salt_log`].
pub(super) fn salt_journal(journal: &mut [u8]) {
    if let Some(nonce) = journal.get_mut(12..16) {
        nonce.copy_from_slice(b"salt");
    }
    seal_journal(journal);
}

/// Makes the checksum of every record right.
pub(super) fn seal_journal(journal: &mut [u8]) {
    if journal.len() < 28 || journal[..8] != JOURNAL_MAGIC {
        return;
    }
    let (nonce, sector, page) = (
        number(&journal[12..]),
        number(&journal[20..]) as usize,
        number(&journal[24..]) as usize,
    );
    if !(512..=65_536).contains(&page) {
        return;
    }
    let Some(records) = journal.get_mut(sector..) else {
        return;
    };
    for record in records.chunks_exact_mut(4 + page + 4) {
        let mut sum = nonce;
        let mut at = page.saturating_sub(200);
        while at > 0 {
            sum = sum.wrapping_add(u32::from(record[4 + at]));
            at = at.saturating_sub(200);
        }
        record[4 + page..].copy_from_slice(&sum.to_be_bytes());
    }
}

fn number(bytes: &[u8]) -> u32 {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    u32::from_be_bytes(bytes)
}
