import Config

# What is worth a warning is looked at by the tests that provoke it.
config :logger, level: :warning

# The servers and the test cases need the cores too.
config :palladion, runtime_threads: 1, decoder_threads: 1
