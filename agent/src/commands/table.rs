//! Columns as Consul's commands print them: two blanks between, nothing after the last. Pure.

/// One line for each row; cells of a column are as wide as the widest.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            if at + 1 < N {
                text += &format!("{cell:width$}  ");
            } else {
                text += cell;
            }
        }
        text.push('\n');
    }
    text
}

/// A row of what can be shown.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
    cells.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["Node", "ID", "DC"]), row(["é-long", "", "dc1"]), row(["b", "12", ""])];
        assert_eq!(columns(&rows), "Node    ID  DC\né-long      dc1\nb       12  \n");
        assert_eq!(columns::<2>(&[]), "");
    }
}
