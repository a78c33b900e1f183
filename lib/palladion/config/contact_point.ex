defmodule Palladion.Config.ContactPoint do
  @moduledoc false
  # Internal: where to connect first. Everything else is told by the servers found there.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Host, Options}
  alias Palladion.ConfigError

  @enforce_keys [:host, :port]
  defstruct [:host, :port, :verified_name]

  @typedoc "A verified name that is `nil` is the host, or what `tls:` has for all endpoints"
  @type t :: %__MODULE__{
          host: Host.t(),
          port: :inet.port_number(),
          verified_name: Host.t() | nil
        }

  @path [:contact_points]
  @forms "\"host\", \"host:port\", \"[::1]:9042\" or {host, port}"

  @doc false
  @spec parse(term(), :inet.port_number()) :: {[t()], [ConfigError.problem()]}
  def parse(points, default_port) do
    cond do
      is_binary(points) or match?({:ok, _}, Options.charlist(points)) ->
        {[],
         [
           problem(
             @path,
             :invalid_value,
             "must be a list; make one of an environment variable's text with " <>
               "String.split(text, \",\", trim: true)"
           )
         ]}

      points == [] ->
        {[], [problem(@path, :empty, "needs one entry at least")]}

      is_list(points) and not List.improper?(points) ->
        parse_list(points, default_port)

      true ->
        {[], [problem(@path, :invalid_value, "must be a list of #{@forms}")]}
    end
  end

  defp parse_list(points, default_port) do
    {good, bad} =
      points
      |> Enum.with_index(&{parse_one(&1, default_port), &1, &2})
      |> Enum.split_with(&match?({{:ok, _}, _, _}, &1))

    problems =
      for {{:error, text}, given, index} <- bad,
          do: problem(@path ++ [index], :invalid_contact_point, "#{show(given)} #{text}")

    {good |> Enum.map(fn {{:ok, point}, _, _} -> point end) |> Enum.uniq(), problems}
  end

  @doc false
  # What looks like user:password@host is not repeated.
  @spec show(term()) :: String.t()
  def show(given) do
    text = Options.show(given)
    if String.contains?(text, "@"), do: "the entry", else: text
  end

  @doc false
  # Without a default, what has no port is an error.
  @spec parse_one(term(), :inet.port_number() | nil) :: {:ok, t()} | {:error, String.t()}
  def parse_one({host, port}, _default_port), do: build(host, port)

  def parse_one(host, default_port) when is_tuple(host), do: build(host, default_port)

  def parse_one(text, default_port) when is_binary(text) do
    case split(text) do
      {:ok, host, nil} -> build(host, default_port)
      {:ok, host, port} -> build_with_text_port(host, port)
      :error -> {:error, "is none of #{@forms}"}
    end
  end

  def parse_one(other, default_port) do
    case Options.charlist(other) do
      {:ok, text} -> parse_one(text, default_port)
      :error -> {:error, "is none of #{@forms}"}
    end
  end

  # "[v6]" and "[v6]:port"; more than one colon without brackets is an IPv6 address.
  defp split("[" <> rest) do
    case String.split(rest, "]") do
      [host, ""] -> ipv6(host, nil)
      [host, ":" <> port] -> ipv6(host, port)
      _ -> :error
    end
  end

  defp split(text) do
    case String.split(text, ":") do
      [host] -> {:ok, host, nil}
      # A URL has its own message.
      [_scheme, "//" <> _] -> {:ok, text, nil}
      [host, port] -> {:ok, host, port}
      _ -> {:ok, text, nil}
    end
  end

  defp ipv6(host, port) do
    if String.contains?(host, ":"), do: {:ok, host, port}, else: :error
  end

  defp build_with_text_port(host, port) do
    case Integer.parse(port) do
      {number, ""} -> build(host, number)
      _ -> {:error, "has no number after the colon"}
    end
  end

  defp build(host, port) when port in 1..65_535 do
    case Host.parse(host) do
      {:ok, host, _kind} -> {:ok, %__MODULE__{host: host, port: port}}
      {:error, text} -> {:error, text}
    end
  end

  defp build(_host, _port), do: {:error, "has a port that is not a number from 1 to 65_535"}
end
