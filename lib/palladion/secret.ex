defmodule Palladion.Secret do
  @moduledoc """
  A password or private key that Elixir can hold, but not read.

  The text lives in memory of the native library, which wipes it when it is freed; this
  struct holds a reference. So it can stand in a child specification or a process's state:
  `inspect`, crash reports and crash dumps show nothing, and nothing turns it back to text.

      iex> secret = Palladion.Secret.wrap("correct horse")
      iex> inspect(secret)
      "#Palladion.Secret<redacted>"

  Wherever the configuration takes a password, it takes one of these. Palladion wraps
  what it is given itself, as early as it can; wrap it yourself when your own code would
  otherwise hold the text for longer.
  """

  @enforce_keys [:ref]
  defstruct [:ref]

  @typedoc "A wrapped text; the reference is the native library's"
  @type t :: %__MODULE__{ref: reference()}

  @doc """
  Wraps a text; a secret is returned as it is.

      iex> secret = Palladion.Secret.wrap("correct horse")
      iex> Palladion.Secret.wrap(secret) == secret
      true

  Raises `ArgumentError`, without the value, for anything else than a binary.
  """
  @spec wrap(binary() | t()) :: t()
  def wrap(value), do: wrap(value, &Palladion.Native.secret_new/1)

  @doc false
  # The constructor is a parameter for the tests. The clauses are one function with a
  # catch-all, and whatever the constructor raises is replaced: a stack trace would print
  # the arguments.
  @spec wrap(binary() | t(), (binary() -> reference() | {:error, term()})) :: t()
  def wrap(value, new) do
    case value do
      %__MODULE__{} -> value
      text when is_binary(text) -> %__MODULE__{ref: create(text, new)}
      _ -> raise ArgumentError, "a secret must be a binary"
    end
  end

  defp create(text, new) do
    case call(text, new) do
      ref when is_reference(ref) -> ref
      _ -> raise ArgumentError, "the native library could not take a secret; is it loaded?"
    end
  end

  defp call(text, new) do
    new.(text)
  rescue
    _ -> :error
  catch
    _, _ -> :error
  end

  defimpl Inspect do
    def inspect(_secret, _opts), do: "#Palladion.Secret<redacted>"
  end
end
