defmodule Palladion.Config.Profile do
  @moduledoc false
  # Internal: what a service needs that isn't a cluster of one's own, as options below those that
  # are given.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Keyspaces, Options}
  alias Palladion.ConfigError

  @known [:keyspaces]

  @doc false
  # Options may be sealed or not. What is wrong otherwise is left as it is, to be found later.
  @spec put(term()) :: {term(), [ConfigError.problem()]}
  def put(options) do
    if Keyword.keyword?(options), do: put(options[:profile], options), else: {options, []}
  end

  defp put(nil, options), do: {options, []}
  defp put(:keyspaces, options), do: Keyspaces.put(options)

  defp put(other, options) do
    advice = if is_atom(other) or is_binary(other), do: Options.suggestion(other, @known)
    message = "must be :keyspaces, got: #{Options.show(other)}"
    message = if advice, do: "#{message}; #{advice}", else: message
    {options, [problem([:profile], :invalid_value, message)]}
  end

  @doc false
  # The region that a cluster is in, by its options as `put/1` has given them, if it is known.
  @spec region(term()) :: String.t() | nil
  def region(options) do
    if Keyword.keyword?(options) and options[:profile] == :keyspaces,
      do: Keyspaces.region(options)
  end

  @doc false
  # What is allowed, and yet worth a line in the log: `consistency` is the cluster's.
  @spec warnings(atom(), atom()) :: [{ConfigError.path(), String.t()}]
  def warnings(:keyspaces, consistency), do: Keyspaces.warnings(consistency)
  def warnings(_none, _consistency), do: []
end
