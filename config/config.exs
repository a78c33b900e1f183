import Config

# For work on Palladion itself: an application that depends on it has its own config/.
# What an application sets for all of its clusters stands there in the same way:
#
#     config :palladion,
#       # cargo features; read when Palladion is compiled
#       native_features: [],
#       # threads of the native runtime; read when the application starts
#       runtime_threads: 2,
#       decoder_threads: 1

if config_env() == :test, do: import_config("test.exs")
