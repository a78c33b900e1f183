defmodule Palladion.Config.SchemaAgreement do
  @moduledoc false
  # Internal: how long to wait until a change of the schema is everywhere, if at all, and who
  # is asked whether it is: the nodes, or a service that makes changes later than it says.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [:timeout, :interval, by: :nodes]

  @type t :: %__MODULE__{
          timeout: pos_integer(),
          interval: pos_integer(),
          by: :nodes | :keyspaces
        }

  @path [:schema_agreement]

  @doc false
  @spec parse(term(), atom()) :: {t() | nil, [ConfigError.problem()]}
  def parse(options, profile \\ nil)
  def parse(false, _profile), do: {nil, []}

  def parse(options, profile) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.Policies.schema_agreement(), @path)
      by = if profile == :keyspaces, do: :keyspaces, else: :nodes
      {struct!(%__MODULE__{by: by}, values), problems}
    else
      message =
        "must be false or options, such as [timeout: 10_000], got: #{Options.show(options)}"

      {nil, [problem(@path, :invalid_value, message)]}
    end
  end
end
