"""What traders do: open interest, taker volume and its delta, large orders. Pure: state goes in, state comes out."""
