--- Where the libraries put what they received, so that the JIT compiler can't
--- leave out making it.
return { data = {}, senders = {} }
