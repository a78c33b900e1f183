defmodule Palladion.Config.Auth.Text do
  @moduledoc false
  # Internal: what texts a login can carry. No message here shows a value.

  @doc false
  # A username or a password. SASL PLAIN separates its parts by zero bytes, and servers read
  # UTF-8.
  @spec login(binary()) :: :ok | {:error, String.t()}
  def login(text) do
    cond do
      String.contains?(text, <<0>>) -> {:error, "has a zero byte in it"}
      not String.valid?(text) -> {:error, "is no valid UTF-8"}
      true -> :ok
    end
  end

  @doc false
  # A part of AWS credentials. Commas separate them in what is sent.
  @spec aws(binary()) :: :ok | {:error, String.t()}
  def aws(text) do
    if for(<<byte <- text>>, byte not in 0x21..0x7E or byte == ?,, do: byte) == [],
      do: :ok,
      else: {:error, "has a character in it that AWS never uses, such as a blank or a line break"}
  end
end
