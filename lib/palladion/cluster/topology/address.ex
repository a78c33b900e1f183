defmodule Palladion.Cluster.Topology.Address do
  @moduledoc false
  # IP addresses: tuples as `:inet` has them, and text in the one spelling that nodes have.

  @doc false
  # Of whatever a column may hold.
  @spec cast(term()) :: {:ok, :inet.ip_address()} | :error
  def cast(tuple) when tuple_size(tuple) in [4, 8] do
    if :inet.is_ip_address(tuple), do: {:ok, tuple}, else: :error
  end

  # Bytes, for what isn't UTF-8 is no address either.
  def cast(text) when is_binary(text) and byte_size(text) <= 64 do
    case text |> :erlang.binary_to_list() |> :inet.parse_strict_address() do
      {:ok, tuple} -> {:ok, tuple}
      {:error, _} -> :error
    end
  end

  def cast(_other), do: :error

  @doc false
  @spec text(:inet.ip_address()) :: String.t()
  def text(tuple), do: tuple |> :inet.ntoa() |> List.to_string()

  @doc false
  # Text in the spelling of `text/1`, so that texts can be compared; what is no address stays.
  @spec normal(term()) :: term()
  def normal(given) do
    case cast(given) do
      {:ok, tuple} -> text(tuple)
      :error -> given
    end
  end

  @doc false
  # "All of my addresses": what a server may listen on, and nobody can connect to.
  @spec any?(:inet.ip_address()) :: boolean()
  def any?({0, 0, 0, 0}), do: true
  def any?({0, 0, 0, 0, 0, 0, 0, 0}), do: true
  def any?({0, 0, 0, 0, 0, 0xFFFF, 0, 0}), do: true
  def any?(_address), do: false

  @doc false
  @spec loopback?(:inet.ip_address()) :: boolean()
  def loopback?({127, _, _, _}), do: true
  def loopback?({0, 0, 0, 0, 0, 0, 0, 1}), do: true
  def loopback?({0, 0, 0, 0, 0, 0xFFFF, high, _}), do: div(high, 256) == 127
  def loopback?(_address), do: false
end
