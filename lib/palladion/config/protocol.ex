defmodule Palladion.Config.Protocol do
  @moduledoc false
  # Internal: what is spoken on a connection.

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [:version, :max_frame_size, :max_response_size]

  @type t :: %__MODULE__{
          version: 4,
          max_frame_size: pos_integer(),
          max_response_size: pos_integer()
        }

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} = Options.check(options, Schema.protocol(), [:protocol])
    {struct!(__MODULE__, values), problems}
  end
end
