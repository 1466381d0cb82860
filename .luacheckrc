std = "luajit"
max_line_length = 80
files["spec"] = { std = "+busted" }
exclude_files = { "build" }
