"""Model servers that valign starts as child processes, and the models behind them."""
