defmodule Palladion.Config.Host do
  @moduledoc false
  # Internal: host names and IP addresses as users write them, in one spelling. Names are
  # not resolved here.

  alias Palladion.Config.Options

  @typedoc "Text without brackets or a port"
  @type t :: String.t()

  @doc false
  # Takes a string, a charlist or an `:inet` tuple.
  @spec parse(term()) :: {:ok, t(), :name | :address} | {:error, String.t()}
  def parse(address) when tuple_size(address) in [4, 8] do
    case :inet.ntoa(address) do
      {:error, _} -> {:error, "is not an IP address"}
      text -> {:ok, List.to_string(text), :address}
    end
  end

  def parse(text) when is_binary(text) do
    case :inet.parse_strict_address(String.to_charlist(text)) do
      {:ok, address} -> parse_address(text, address)
      {:error, _} -> parse_name(text)
    end
  rescue
    # Not UTF-8.
    UnicodeConversionError -> {:error, "is not a host name"}
  end

  def parse(other) do
    case Options.charlist(other) do
      {:ok, text} -> parse(text)
      :error -> {:error, "is not a host name"}
    end
  end

  defp parse_address(text, address) do
    if String.contains?(text, "%"),
      do: {:error, "has an interface after the %, which is not supported"},
      else: parse(address)
  end

  defp parse_name(text) do
    cond do
      String.contains?(text, ["://", "/"]) ->
        {:error, "is a URL or path, and not a host name"}

      not (text =~ ~r/\A[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})\z/) ->
        {:error, name_advice(text)}

      text =~ ~r/(\A|\.)\d+\.?\z/ ->
        {:error, "is not an IP address"}

      true ->
        {:ok, text, :name}
    end
  end

  defp name_advice(text) do
    if text =~ ~r/[^\x00-\x7f]/u,
      do: "is not an ASCII host name; write the xn-- form of an international name",
      else: "is not a host name"
  end
end
