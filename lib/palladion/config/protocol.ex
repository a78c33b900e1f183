defmodule Palladion.Config.Protocol do
  @moduledoc false
  # Internal: what is spoken on a connection.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, OtherNames, Schema}
  alias Palladion.ConfigError

  @versions [3, 4, 5]
  @old [1, 2]
  @compressions [:lz4, :snappy]
  # As other drivers have it.
  @off ["false", "none", "off"]

  defstruct [:version, :compression, :max_frame_size, :max_response_size]

  @typedoc "`version` is `nil` where the newest that the servers speak is to be found"
  @type t :: %__MODULE__{
          version: 3 | 4 | 5 | nil,
          compression: :lz4 | :snappy | nil,
          max_frame_size: pos_integer(),
          max_response_size: pos_integer()
        }

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} =
      Options.check(options, Schema.protocol(), [:protocol], &OtherNames.protocol/1)

    more = version(values.version) ++ compression(values.compression, values.version)
    {struct!(__MODULE__, values), problems ++ more}
  end

  defp version(version) when version in [nil | @versions], do: []

  defp version(version) when version in @old do
    invalid(:version, "is #{version}, which is not spoken any more; the versions are 3, 4 and 5")
  end

  defp version(other) do
    near = Enum.find(@versions, &(to_text(other) in ["#{&1}", "v#{&1}", "V#{&1}"]))
    advice = if near, do: "; did you mean #{near}?", else: ""
    invalid(:version, "must be 3, 4 or 5, got: #{Options.show(other)}#{advice}")
  end

  defp invalid(name, message), do: [problem([:protocol, name], :invalid_value, message)]

  # As other drivers write it: :v4, "4".
  defp to_text(value) when is_atom(value) or is_binary(value), do: to_string(value)
  defp to_text(_other), do: nil

  # Version 5 compresses segments, for which only LZ4 is defined.
  defp compression(:snappy, 5) do
    message =
      "is :snappy, which version 5 of the protocol doesn't have; take :lz4, or leave out version:"

    [problem([:protocol, :compression], :conflict, message)]
  end

  defp compression(name, _version) when name in [nil | @compressions], do: []

  defp compression(other, _version) do
    text = to_text(other)
    near = if text, do: Enum.find(@compressions, &(String.downcase(text) == "#{&1}"))

    advice =
      cond do
        near -> "; did you mean #{inspect(near)}?"
        text in @off -> "; leave it out, and nothing is compressed"
        true -> ""
      end

    invalid(:compression, "must be :lz4 or :snappy, got: #{Options.show(other)}#{advice}")
  end
end
