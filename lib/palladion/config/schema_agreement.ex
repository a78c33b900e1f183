defmodule Palladion.Config.SchemaAgreement do
  @moduledoc false
  # Internal: how long to wait for nodes to agree on a change of the schema, if at all.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [:timeout, :interval]

  @type t :: %__MODULE__{timeout: pos_integer(), interval: pos_integer()}

  @path [:schema_agreement]

  @doc false
  @spec parse(term()) :: {t() | nil, [ConfigError.problem()]}
  def parse(false), do: {nil, []}

  def parse(options) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.Policies.schema_agreement(), @path)
      {struct!(__MODULE__, values), problems}
    else
      message =
        "must be false or options, such as [timeout: 10_000], got: #{Options.show(options)}"

      {nil, [problem(@path, :invalid_value, message)]}
    end
  end
end
